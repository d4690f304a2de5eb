"""Generates the pages of what can be asked, and of the errors that there are."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator

from reelport.additivity import describe_adding, describe_rule
from reelport.catalog import (
    CellType,
    Convention,
    Dimension,
    Family,
    Filter,
    Limit,
    Meaning,
    Metric,
    Product,
    Scope,
    Standing,
    Standings,
    Statement,
    Sum,
)
from reelport.errors import ReelportError
from reelport.report_details import FailureReason
from reelport.wire import Code
from reelport.wording import format_markdown_table

_LONG_LIST, _FEW_MORE = 10, 8
"""A list of so many names, with so few more of its own, is shown by the family that it extends."""
_GENERATED = "<!-- Made by `make docs` from the catalog: change the catalog, not this page. -->"


def catalog_page() -> str:
    """Generate the page of all that can be asked, with limits and matrix, as Markdown."""
    sections = (
        ("Standing", _format_standings()),
        ("Metrics", _format_metrics()),
        ("Dimensions", _format_dimensions()),
        ("What the numbers mean", _format_meanings()),
        ("Which metrics go with which dimensions", _format_matrix()),
        ("Filters", _format_filters()),
        ("Products", _format_products()),
        ("Scopes", _format_scopes()),
        ("Limits", _format_limits()),
    )
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections)
    return f"{_GENERATED}\n\n# What can be asked\n\n{body}\n"


def errors_page() -> str:
    """Generate the page of the service's error codes and the client's errors, as Markdown."""
    codes = format_markdown_table(("code", "means"), ((f"`{code}`", code.sentence) for code in Code))
    failures = format_markdown_table(
        ("code", "means", "error"),
        ((f"`{each}`", f"{each.sentence} {each.advice}", f"`{each.error.__name__}`") for each in FailureReason),
    )
    raised = format_markdown_table(("error", "code", "exit status", "means"), _list_errors(ReelportError))
    return (
        f"{_GENERATED}\n\n# Errors\n\n## What the service answers\n\n"
        "Every entry of an `errors` list has one of these codes as `extensions.code`. "
        f"There are no other codes. Compare the code, never the text.\n\n{codes}\n\n"
        "## Why a report fails\n\n"
        f"`failure.code` of [a report](../how-to/follow-a-report.md), and the client's error:\n\n{failures}\n\n"
        "## What the client raises\n\n"
        "All errors are classes of `reelport`. If you catch a class, you also catch the classes below it. `error.code` "
        "and the exit status never change; the text says what to do next. `error.token` (the report's token) and "
        "`error.data` (data that came with the error) may be None. "
        f"`QueryRefused.problems` has every reason.\n\n{raised}\n"
    )


def _list_errors(error: type[ReelportError], depth: int = 0) -> Iterator[tuple[object, ...]]:
    sentence = (error.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
    yield "&emsp;" * depth + f"`{error.__name__}`", f"`{error.code}`", error.exit_status, sentence
    for below in error.__subclasses__():
        if below.__module__ == error.__module__:
            yield from _list_errors(below, depth + 1)


def _format_standings() -> str:
    legend = (
        "A letter says how certain a statement is. Statements are a name, the meaning of a name, a formula, a unit, "
        "digits, and whether rows add up. A statement without a letter has the letter before it in the same line. If "
        "one letter stands for a list of rules, it is the letter of the least certain one."
    )
    lines = (
        (Standing.DOCUMENTED, "Dailymotion's documentation states it."),
        (Standing.SCHEMA, "A public copy of the real schema shows the name, or has the statement as its description."),
        (Standing.INFERRED, "Client code uses it, or it follows from other facts, mostly from the name."),
        (Standing.CHOSEN, "No source states it. Reelport's authors chose it."),
    )
    rows = ((standing_letter(each), each, says) for each, says in lines)
    return f"{legend}\n\n{format_markdown_table(('letter', 'standing', 'means'), rows)}"


def standing_letter(standing: Standing) -> str:
    """Abbreviate a standing to one letter: D, S, I or C."""
    return standing[0].upper()


def _append_letter(text: object, standings: Standings, statement: Statement) -> str:
    return f"{text} [{standing_letter(standings[statement])}]" if statement in standings else str(text)


def _drop_repeated_letters(row: Iterable[str]) -> tuple[str, ...]:
    pieces = re.split(r"( \[[DSIC]\])", "\0".join(row))
    letters = ["", *pieces[1::2]]
    kept = ("" if letter == before else letter for before, letter in itertools.pairwise(letters))
    return tuple("".join(itertools.chain(*itertools.zip_longest(pieces[::2], kept, fillvalue=""))).split("\0"))


def _format_metrics() -> str:
    inferred, chosen = standing_letter(Standing.INFERRED), standing_letter(Standing.CHOSEN)
    legend = (
        f"Unless the metric's line says otherwise, a metric is a whole number [{inferred}]. A share is from 0 to 1 "
        f"[{chosen}]. "
        "In a formula, the name of a measure means its sum. A metric without a formula is the sum of the measure of "
        "that name. A formula that is only a name has no letter."
    )
    head = ("metric", "means", "formula", "unit, digits", "family")
    rows = (
        _drop_repeated_letters(
            (
                _append_letter(f"`{each}`", each.standings, Statement.NAME),
                _append_letter(each.sentence, each.standings, Statement.MEANING),
                "" if each.rule == Sum(each.name.lower()) else _format_formula(each),
                _format_unit(each),
                f"[{each.family}](#{str(each.family).lower()})",
            )
        )
        for each in Metric
    )
    return f"{legend}\n\n{format_markdown_table(head, rows)}\n\n{_format_adding()}"


def _format_formula(metric: Metric) -> str:
    formula = _link_payees(describe_rule(metric.rule).replace("sum of ", ""))
    return _append_letter(formula, metric.standings, Statement.FORMULA)


def _format_unit(metric: Metric) -> str:
    """Give the unit and, unless they are those of the legend, the digits."""
    unit = _append_letter(metric.unit, metric.standings, Statement.UNIT)
    if metric.digits == 0 and metric.standings.get(Statement.SCALE) is Standing.INFERRED:
        return unit
    return f"{unit}, {_append_letter(metric.digits, metric.standings, Statement.SCALE)}"


def _format_adding() -> str:
    inferred = standing_letter(Standing.INFERRED)
    others: dict[str, list[str]] = {}
    for each in Metric:
        says, letter = describe_adding(each.rule), standing_letter(each.standings[Statement.ADDING])
        if (says, letter) != ("yes", inferred):
            others.setdefault(f"{says} [{letter}]", []).append(f"`{each}`")
    lines = (f"- {says}: {', '.join(names)}" for says, names in others.items())
    return "\n".join([f"The rows of a metric add up [{inferred}], except these:\n", *lines])


def _link_payees(formula: str) -> str:
    """Link each measure `…_of_payee` in a formula to the section that explains payees."""
    return re.sub(r"\w+_of_payee\b", r"[\g<0>](#what-the-numbers-mean)", formula)


def _format_dimensions() -> str:
    head = ("dimension", "means", "cells")
    rows = (
        _drop_repeated_letters(
            (
                _append_letter(f"`{each}`", each.standings, Statement.NAME),
                _append_letter(each.sentence, each.standings, Statement.MEANING),
                _format_cells(each),
            )
        )
        for each in Dimension
    )
    many_valued = ", ".join(f"`{each}`" for each in Dimension if each.many_valued)
    weakest = max((each.standings[Statement.ADDING] for each in Dimension), key=list(Standing).index)
    legend = (
        f"Rows add up over every dimension except {many_valued} [{standing_letter(weakest)}]. Cells are texts, unless "
        f"the dimension's line says otherwise [{standing_letter(Standing.CHOSEN)}]."
    )
    return f"{legend}\n\n{format_markdown_table(head, rows)}"


def _format_cells(dimension: Dimension) -> str:
    """Say what a dimension's cells hold, unless it is as the legend says."""
    if dimension.type is CellType.TEXT and dimension.standings[Statement.VALUES] is Standing.CHOSEN:
        return ""
    return _append_letter(dimension.type, dimension.standings, Statement.VALUES)


def _format_products() -> str:
    rows = (
        _drop_repeated_letters(
            (
                _append_letter(f"`{each}`", each.standings, Statement.NAME),
                _append_letter(each.sentence, each.standings, Statement.MEANING),
            )
        )
        for each in Product
    )
    return format_markdown_table(("product", "keeps"), rows)


def _format_scopes() -> str:
    rows = (
        _drop_repeated_letters(
            (f"`{each}` [{standing_letter(each.standing)}]", f"{each.sentence} [{standing_letter(each.meaning)}]")
        )
        for each in Scope
    )
    return format_markdown_table(("scope", "allows"), rows)


def _format_meanings() -> str:
    weakest = max((each.standing for each in Meaning), key=list(Standing).index)
    rules = format_markdown_table(("about", "says"), ((each.title, each.sentence) for each in Meaning))
    return f"Rules for several names [{standing_letter(weakest)}]:\n\n{rules}"


def _format_matrix() -> str:
    legend = (
        "Metrics of one family can be combined with the same dimensions. [The table of metrics](#metrics) names each "
        "metric's family. A report may mix families if each dimension can be combined with each metric. *All of* a "
        "family means its documented and inferred dimensions. *Permissive* dimensions need the service's setting "
        "`REELPORT_INFERRED=permissive`."
    )
    return "\n\n".join([legend, *(_format_family(family) for family in Family)])


def _format_family(family: Family) -> str:
    scopes = "".join(f" Needs `{scope}`." for scope in sorted(family.scopes))
    kinds = {"Documented": "D", "Inferred": "i", "Permissive": "p"}
    lines = (
        f"- {kind}: {_format_names(family, letter)}" for kind, letter in kinds.items() if _find_names(family, letter)
    )
    return "\n".join([f"### {family}\n\n{family.sentence}{scopes}\n", *lines])


def _find_names(family: Family, letter: str) -> tuple[Dimension, ...]:
    return tuple(each for each in Dimension if matrix_letter(family, each) == letter)


def _format_names(family: Family, letter: str) -> str:
    names, bases = _find_names(family, letter), []
    for earlier in itertools.takewhile(lambda each: each is not family, Family):
        shared = {*_find_names(earlier, "D"), *_find_names(earlier, "i")}
        if letter == "i" and len(shared) >= _LONG_LIST and shared <= {*names} and len(names) - len(shared) <= _FEW_MORE:
            bases.append((len(shared), earlier, shared))
    if not bases:
        return ", ".join(f"`{each}`" for each in names)
    _, base, shared = max(bases, key=lambda each: each[0])
    more = (f"`{each}`" for each in names if each not in shared)
    return ", ".join([f"all of [{base}](#{str(base).lower()})", *more])


def matrix_letter(family: Family, dimension: Dimension) -> str:
    """Tell by one letter whether a dimension goes with a family.

    The letters are D (documented), i (inferred), p (only where the service is set to be permissive) and - (not).
    """
    if dimension in family.documented:
        return "D"
    if dimension in family.inferred:
        return "i"
    return "p" if dimension in family.carried else "-"


def _format_filters() -> str:
    head = ("filter", "means", "values", "families")
    text = "a text; the empty text keeps empty cells"
    rows = (
        _drop_repeated_letters(
            (
                _append_letter(f"`{each}`", each.standings, Statement.NAME),
                _append_letter(each.sentence, each.standings, Statement.MEANING),
                _append_letter(
                    ", ".join(f"`{choice}`" for choice in each.choices) or text, each.standings, Statement.VALUES
                ),
                _format_filtered(each),
            )
        )
        for each in Filter
    )
    return format_markdown_table(head, rows)


def _format_filtered(filter_: Filter) -> str:
    """List the families of a filter, or the other ones if they are fewer."""
    others = [family.name for family in Family if filter_ not in family.filters]
    if len(others) * 2 > len(Family):
        return ", ".join(family.name for family in Family if filter_ in family.filters)
    return f"all except {', '.join(others)}" if others else "all"


def _format_limits() -> str:
    settable = ((each.sentence, f"{each.default} {each.unit} [{standing_letter(each.standing)}]") for each in Limit)
    fixed = ((each.sentence, f"{each.says} [{standing_letter(each.standing)}]") for each in Convention)
    return format_markdown_table(("limit", "default, or fixed rule"), (*settable, *fixed))
