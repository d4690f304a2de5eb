"""`reelport fields`: what can be asked, what it means, and what goes together. Calls nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from reelport import check
from reelport.catalog import Filter, Limit, Metric, describe_standings
from reelport.cli.arguments import completions
from reelport.cli.arguments.nearest_valid_query import nearest_valid_query
from reelport.cli.arguments.options import names
from reelport.cli.arguments.query_problems import by_option
from reelport.cli.client_commands.glossary import Entry, Facts, Part, brief, entries, explained, named, rules_of
from reelport.cli.output.listing import listed, plain, told
from reelport.errors import Problem, QueryRefused
from reelport.query import ReportQuery
from reelport.wire import Code

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

FIELDS = App(
    name="fields", help="Metrics, dimensions, filters and products, and what goes together.", help_format="plaintext"
)

Json = Annotated[bool, Parameter("--json", negative=(), help="Print JSON.")]
_MANY = 13
"""Metrics that are too many to name one by one on a terminal."""

_BY_COMMAS = "Names by commas, or the option repeated."


@FIELDS.command(name="list")
def list_fields(part: Annotated[Part | None, Parameter(help="Only these.")] = None, /, *, json: Json = False) -> None:
    """List what can be asked.

    Example: reelport fields list metrics
    """
    found = [entry for each in ([part] if part else Part) for entry in entries(each)]
    if json or not sys.stdout.isatty():
        listed([brief(entry) for entry in found], as_json=json)
    else:
        _print_list(found)


@FIELDS.command
def explain(
    name: Annotated[str, Parameter(completer=completions.fields, help="A metric, a dimension, a filter or a product.")],
    /,
    *,
    json: Json = False,
) -> None:
    """Say what a name means, how it adds up, over which ranges, and what it goes with.

    Example: reelport fields explain VIEW_THROUGH_RATE
    """
    entry = named(name)
    facts = explained(entry)
    _print_page(facts if json else facts | _sentences(entry), as_json=json)


def _sentences(entry: Entry) -> Facts:
    """For people: the standing of each statement, the name's among them, and the rules, a line each."""
    return {"standing": "", "standings": describe_standings(entry.standings), "rules": "\n".join(rules_of(entry))}


@FIELDS.command
def compat(
    *,
    metrics: Annotated[list[str] | None, Parameter(negative=(), completer=completions.metrics, help=_BY_COMMAS)] = None,
    dimensions: Annotated[
        list[str] | None, Parameter(negative=(), completer=completions.dimensions, help=_BY_COMMAS)
    ] = None,
    filters: Annotated[
        list[str] | None, Parameter("--filter", negative=(), completer=completions.filters, help=_BY_COMMAS)
    ] = None,
    json: Json = False,
) -> None:
    """Say what may still be added to some names, or why they can't be asked for together and what could be.

    Example: reelport fields compat --metrics VIEWS,UPLOADS --dimensions DAY
    """
    query = _query(metrics or [], dimensions or [], filters or [])
    _refuse_impossible(query, as_json=json)
    may = check.allowed_with(query)
    inferred = {row for name in query.metrics for row in Metric[name].family.inferred}
    facts: Facts = {
        "metrics": [row.name for row in may.metrics],
        "dimensions": [row.name for row in may.dimensions if row not in inferred],
        "dimensions_inferred": [row.name for row in may.dimensions if row in inferred],
        "dimensions_left": max(Limit.DIMENSIONS.default - len(query.dimensions), 0),
        "filters": [row.name for row in may.filters],
        "products": [row.name for row in may.products],
    }
    _print_page(facts, as_json=json)


def refuse_names(metrics: list[str], dimensions: list[str], filters: list[str]) -> None:
    """Raise QueryRefused where these names can't be asked for together."""
    _refuse_impossible(_query(metrics, dimensions, filters), as_json=False)


def _query(metrics: list[str], dimensions: list[str], filters: list[str]) -> ReportQuery:
    """The query of these names, today; a filter without a value gets one that it takes."""
    today = datetime.now(UTC).date()
    values = {}
    for word in (word for words in filters for word in words.split(",") if word.strip()):
        name, equals, value = (part.strip() for part in word.partition("="))
        choices = Filter[name].choices if name in Filter.__members__ else ()
        values[name] = value if equals or not choices else choices[0]
    return ReportQuery.of(names(metrics), names(dimensions), today, today, values)


def _refuse_impossible(query: ReportQuery, *, as_json: bool) -> None:
    """Raise QueryRefused with every problem, and with the nearest combination that is possible."""
    problems = check.problems(query, today=query.end)
    # No metric may be named yet; that none could be is worth a word.
    found = tuple(each for each in problems if each.code != Code.NO_METRICS or each.nearest is None)
    if not found:
        return
    near = nearest_valid_query(query)
    said = by_option(found)
    if as_json:
        told({"problems": [_problem(each) for each in found], "possible": near and _combination(near)})
    if near is not None:
        words = " ".join(f"--{part} {','.join(chosen)}" for part, chosen in _combination(near).items() if chosen)
        said = (*said, Problem(found[-1].code, (), f"This would work: {words}", words, fatal=False))
    raise QueryRefused(said)


def _combination(query: ReportQuery) -> dict[str, list[str]]:
    filters = [name for name, _ in query.filters]
    return {"metrics": list(query.metrics), "dimensions": list(query.dimensions), "filter": filters}


def _problem(problem: Problem) -> dict[str, object]:
    return {"code": problem.code, "path": list(problem.path), "sentence": problem.sentence, "nearest": problem.nearest}


def _print_page(facts: Facts, *, as_json: bool) -> None:
    """One thing: a table on a terminal, tab-separated lines in a pipe, or JSON."""
    if as_json:
        told(facts)
        return
    shown = {name.replace("_", " "): value for name, value in facts.items() if value not in ("", [])}
    if not sys.stdout.isatty():
        for name, value in shown.items():
            for line in plain(value).splitlines():
                print(f"{name}\t{line}")
        return
    grid = _grid()
    for name, value in shown.items():
        grid.add_row(name, _spoken(value) if isinstance(value, list) else str(value))
    _console().print(grid)


def _spoken(found: list[str]) -> str:
    """Names for people: metrics by the families that they make up, where there are many."""
    if len(found) < _MANY or found[0] not in Metric.__members__:
        return ", ".join(found)
    families = dict.fromkeys(Metric[name].family.name for name in found)
    return f"{len(found)}: those of {', '.join(families)} (see `reelport fields list metrics`)"


def _print_list(found: Iterable[Entry]) -> None:
    """Every entry below its heading: a metric's is its family, with the scopes that it needs."""
    groups: dict[str, list[Entry]] = {}
    for entry in found:
        groups.setdefault(_heading(entry), []).append(entry)
    console = _console()
    for heading, members in groups.items():
        console.print(heading, style="bold", markup=False)
        grid = _grid()
        for entry in members:
            grid.add_row(f"  {entry.name}", f"{entry.sentence} ({brief(entry)['holds']})")
        console.print(grid)


def _heading(entry: Entry) -> str:
    if not isinstance(entry, Metric):
        return f"{type(entry).__name__}s"
    scopes = " and ".join(sorted(entry.family.scopes))
    return f"Metrics: {entry.family.name}{f' (needs {scopes})' if scopes else ''}"


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False)


def _grid() -> Table:
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column()
    return grid
