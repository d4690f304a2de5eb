"""`reelport fields`: list names, explain them, check combinations. Calls nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import date
from enum import StrEnum
from typing import Annotated

from cyclopts import App, Parameter

from reelport.additivity import Added, describe_adding, describe_rule
from reelport.catalog import (
    Dimension,
    Distinct,
    Family,
    Filter,
    Grain,
    Limit,
    Meaning,
    Metric,
    Product,
    Scope,
    Stock,
    Unit,
    describe_standings,
)
from reelport.cli.output.listing import PrintJson, build_grid, format_value, print_json, print_list
from reelport.errors import MergeRefused, UsageError
from reelport.query import ReportQuery
from reelport.similar_names import suggest_name

Facts = dict[str, object]  # facts about one entry: texts, and lists of names. What doesn't apply is left out.

Entry = Metric | Dimension | Filter | Product


class Part(StrEnum):
    """A part of the catalog."""

    METRICS = "metrics"
    DIMENSIONS = "dimensions"
    FILTERS = "filters"
    PRODUCTS = "products"


def list_entries(part: Part) -> tuple[Entry, ...]:
    """Return all entries in one part of the catalog, in its order."""
    found: dict[Part, Iterable[Entry]] = dict(zip(Part, (Metric, Dimension, Filter, Product), strict=True))
    return tuple(found[part])


def find_entry(name: str) -> Entry:
    """Find an entry by name in any case, with - for _. UsageError with the nearest name."""
    known = {entry.name.upper(): entry for part in Part for entry in list_entries(part)}
    found = known.get(name.strip().upper().replace("-", "_"))
    if found is not None:
        return found
    near = suggest_name(name.strip(), [entry.name for entry in known.values()])
    advice = f"Did you mean {near}?" if near else "See `reelport fields list`."
    raise UsageError(f"There is no metric, dimension, filter or product {name[:80]!r}. {advice}")


def summarize(entry: Entry) -> Facts:
    """Return the facts for one line about an entry."""
    match entry:
        case Metric():
            holds, scopes = str(entry.unit), sorted(entry.family.scopes)
        case Dimension():
            holds, scopes = str(entry.type), []
        case Filter():
            holds, scopes = " or ".join(entry.choices) or "text", []
        case Product():
            holds, scopes = " or ".join(entry.roles), []
    kind = type(entry).__name__.lower()
    facts: Facts = {"kind": kind, "name": entry.name, "holds": holds, "scopes": [str(scope) for scope in scopes]}
    return facts | {"standing": str(entry.standing), "means": entry.sentence}


def explain_entry(entry: Entry) -> Facts:
    """Return all facts about an entry."""
    facts: Facts = {"name": entry.name, "kind": type(entry).__name__.lower(), "means": entry.sentence}
    match entry:
        case Metric():
            return facts | _metric(entry)
        case Dimension():
            return facts | _dimension(entry)
        case Filter():
            return facts | _filter(entry)
        case Product():
            return facts | _product(entry)


def _list_standings(entry: Entry) -> dict[str, str]:
    return {str(statement): str(standing) for statement, standing in entry.standings.items()}


def _list_rules(entry: Entry) -> list[str]:
    names = {entry.name, entry.family.name} if isinstance(entry, Metric) else {entry.name}
    return [f"{rule.sentence} ({rule.standing})" for rule in Meaning if names & set(rule.about)]


def describe_ranges(metric: Metric) -> str:
    """Describe the ranges that a metric allows, and how windows of longer ones merge."""
    from reelport.client.ranges.plan import plan_merge

    limit = f"{Limit.RANGE_DAYS.default} days"
    try:
        how = plan_merge(ReportQuery.of([metric], [], date.min, date.min), months=True, ordered=True)
    except MergeRefused:
        match metric.rule:
            case Distinct():
                obstacle = "what is in two windows would count twice"
            case Stock():
                obstacle = "it is what there is on one day, and days don't add up"
            case _:
                obstacle = "no metric gives the parts that it is computed from"
        return f"up to {limit}; longer only with a dimension of time: {obstacle}"
    cell = how.cells[0]
    if isinstance(cell, Added):
        return f"any; beyond {limit} the reports of its windows are added up"
    above, *below = (how.asked.metrics[column] for column in (cell.numerator, *cell.denominator))
    parts = below[0] if len(below) == 1 else f"({' + '.join(below)})"
    return f"any; beyond {limit} computed anew from {above} / {parts}, asked for beside it"


def _metric(metric: Metric) -> Facts:
    family = metric.family
    digits = f"decimal, {metric.digits} digits" if metric.digits else "whole number"
    digits += ", from 0 to 1" if metric.unit is Unit.SHARE else ""
    return {
        "unit": str(metric.unit),
        "cells": f"{digits}, in the column {metric.header}",
        "made_of": describe_rule(metric.rule),
        "adds_up": describe_adding(metric.rule),
        "ranges": describe_ranges(metric),
        "scopes": [str(scope) for scope in (Scope.CREATE_REPORTS, *sorted(family.scopes))],
        "family": f"{family}: {family.sentence}",
        "standing": str(metric.standing),
        "standings": _list_standings(metric),
        "rules": _list_rules(metric),
        "dimensions": [row.name for row in Dimension if row in family.documented],
        "dimensions_inferred": [row.name for row in Dimension if row in family.inferred],
        "filters": [row.name for row in Filter if row in family.filters],
        "goes_with": "every metric that all dimensions of the report go with too",
    }


def _dimension(dimension: Dimension) -> Facts:
    over = "no: one fact is in several rows" if dimension.many_valued else "yes, what adds up"
    return {
        "cells": f"{dimension.type}, in the column {dimension.header}",
        "adds_up": over,
        "ranges": _list_incompatible(dimension),
        "standing": str(dimension.standing),
        "standings": _list_standings(dimension),
        "rules": _list_rules(dimension),
        "metrics": _metrics(family for family in Family if dimension in family.documented),
        "metrics_inferred": _metrics(family for family in Family if dimension in family.inferred),
        "filters": [row.name for row in Filter if row.dimension is dimension],
    }


def _filter(row: Filter) -> Facts:
    return {
        "values": " or ".join(row.choices) or "a text; the empty text keeps rows whose cell is empty",
        "looks_at": row.dimension.name,
        "standing": str(row.standing),
        "standings": _list_standings(row),
        "rules": _list_rules(row),
        "metrics": _metrics(family for family in Family if row in family.filters),
    }


def _product(product: Product) -> Facts:
    return {
        "keeps": f"rows of which one of your channels is the {' or the '.join(product.roles)}",
        "standing": str(product.standing),
        "standings": _list_standings(product),
        "goes_with": "every metric and every dimension",
    }


def _list_incompatible(dimension: Dimension) -> str:
    if dimension.grain is None:
        if dimension.many_valued:
            return f"up to {Limit.RANGE_DAYS.default} days; longer only beside a dimension of time"
        return "any; of rows with equal cells in several windows, one is made"
    ends = ", which then end with months" if dimension.grain is Grain.MONTH else ""
    return f"any; each row lies in one window{ends}"


def _metrics(families: Iterable[Family]) -> list[str]:
    chosen = set(families)
    return [metric.name for metric in Metric if metric.family in chosen]


FIELDS = App(name="fields", help_format="plaintext")

_MANY = 13  # with as many metrics, a terminal shows families instead of names


@FIELDS.command(name="list")
def list_fields(
    part: Annotated[Part | None, Parameter(help="Only these.")] = None, /, *, json: PrintJson = False
) -> None:
    """List what can be asked.

    Example: reelport fields list metrics
    """
    found = [entry for each in ([part] if part else Part) for entry in list_entries(each)]
    if json or not sys.stdout.isatty():
        print_list([summarize(entry) for entry in found], as_json=json)
    else:
        _print_list(found)


@FIELDS.command
def explain(
    name: Annotated[str, Parameter(help="A metric, a dimension, a filter or a product.")],
    /,
    *,
    json: PrintJson = False,
) -> None:
    """Show what a name means, how it adds up, and what it goes with.

    Example: reelport fields explain VIEW_THROUGH_RATE
    """
    entry = find_entry(name)
    facts = explain_entry(entry)
    if not json:
        sentences = {"standings": describe_standings(entry.standings), "rules": "\n".join(_list_rules(entry))}
        facts |= {"standing": "", **sentences}
    _print_page(facts, as_json=json)


def _print_page(facts: Facts, *, as_json: bool) -> None:
    if as_json:
        print_json(facts)
        return
    shown = {name.replace("_", " "): value for name, value in facts.items() if value not in ("", [])}
    if not sys.stdout.isatty():
        for name, value in shown.items():
            for line in format_value(value).splitlines():
                print(f"{name}\t{line}")
        return
    from rich.console import Console

    texts = [(name, _format_names(value) if isinstance(value, list) else str(value)) for name, value in shown.items()]
    Console(highlight=False).print(build_grid(texts))


def _format_names(found: list[str]) -> str:
    if len(found) < _MANY or found[0] not in Metric.__members__:
        return ", ".join(found)
    families = dict.fromkeys(Metric[name].family.name for name in found)
    return f"{len(found)}: those of {', '.join(families)} (see `reelport fields list metrics`)"


def _print_list(found: Iterable[Entry]) -> None:
    from rich.console import Console

    groups: dict[str, list[tuple[str, str]]] = {}
    for entry in found:
        line = f"  {entry.name}", f"{entry.sentence} ({summarize(entry)['holds']})"
        groups.setdefault(_heading(entry), []).append(line)
    console = Console(highlight=False)
    for heading, lines in groups.items():
        console.print(heading, style="bold", markup=False)
        console.print(build_grid(lines))


def _heading(entry: Entry) -> str:
    if not isinstance(entry, Metric):
        return f"{type(entry).__name__}s"
    scopes = " and ".join(sorted(entry.family.scopes))
    return f"Metrics: {entry.family.name}{f' (needs {scopes})' if scopes else ''}"
