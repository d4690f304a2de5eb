"""`reelport fields`: list names, explain them, check combinations. Calls nothing."""

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
from reelport.cli.arguments.options import split_names
from reelport.cli.arguments.print_json import PrintJson
from reelport.cli.arguments.query_problems import problems_by_option
from reelport.cli.client_commands.glossary import (
    Entry,
    Facts,
    Part,
    explain_entry,
    find_entry,
    list_entries,
    rules_of,
    summarize,
)
from reelport.cli.output.listing import format_value, print_json, print_list
from reelport.errors import Problem, QueryRefused
from reelport.query import ReportQuery
from reelport.wire import Code

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

FIELDS = App(
    name="fields", help="Metrics, dimensions, filters and products, and what goes together.", help_format="plaintext"
)

_MANY = 13
"""With as many metrics, a terminal shows families instead of names."""

_BY_COMMAS = "Names by commas, or the option repeated."


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
    name: Annotated[str, Parameter(completer=completions.fields, help="A metric, a dimension, a filter or a product.")],
    /,
    *,
    json: PrintJson = False,
) -> None:
    """Say what a name means, how it adds up, over which ranges, and what it goes with.

    Example: reelport fields explain VIEW_THROUGH_RATE
    """
    entry = find_entry(name)
    facts = explain_entry(entry)
    _print_page(facts if json else facts | _sentences(entry), as_json=json)


def _sentences(entry: Entry) -> Facts:
    """Return texts for people: how well each statement is known, and the rules, one line each."""
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
    json: PrintJson = False,
) -> None:
    """Say what may be added to some names, or why they don't go together and what would.

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


def _query(metrics: list[str], dimensions: list[str], filters: list[str]) -> ReportQuery:
    """Build a query of these names for today; a filter without a value gets a valid one."""
    today = datetime.now(UTC).date()
    values = {}
    for word in (word for words in filters for word in words.split(",") if word.strip()):
        name, equals, value = (part.strip() for part in word.partition("="))
        choices = Filter[name].choices if name in Filter.__members__ else ()
        values[name] = value if equals or not choices else choices[0]
    return ReportQuery.of(split_names(metrics), split_names(dimensions), today, today, values)


def _refuse_impossible(query: ReportQuery, *, as_json: bool) -> None:
    """Raise QueryRefused with every problem of a combination, and with the nearest valid one."""
    problems = check.problems(query, today=query.end)
    # Naming no metric yet is fine, unless none would fit the other names.
    found = tuple(each for each in problems if each.code != Code.NO_METRICS or each.nearest is None)
    if not found:
        return
    near = nearest_valid_query(query)
    refusal = problems_by_option(found)
    if as_json:
        print_json({"problems": [_problem(each) for each in found], "possible": near and _combination(near)})
    if near is not None:
        words = " ".join(f"--{part} {','.join(chosen)}" for part, chosen in _combination(near).items() if chosen)
        refusal = (*refusal, Problem(found[-1].code, (), f"This would work: {words}", words, fatal=False))
    raise QueryRefused(refusal)


def _combination(query: ReportQuery) -> dict[str, list[str]]:
    filters = [name for name, _ in query.filters]
    return {"metrics": list(query.metrics), "dimensions": list(query.dimensions), "filter": filters}


def _problem(problem: Problem) -> dict[str, object]:
    return {"code": problem.code, "path": list(problem.path), "sentence": problem.sentence, "nearest": problem.nearest}


def _print_page(facts: Facts, *, as_json: bool) -> None:
    """Print one thing: a table on a terminal, tab-separated lines in a pipe, or JSON."""
    if as_json:
        print_json(facts)
        return
    shown = {name.replace("_", " "): value for name, value in facts.items() if value not in ("", [])}
    if not sys.stdout.isatty():
        for name, value in shown.items():
            for line in format_value(value).splitlines():
                print(f"{name}\t{line}")
        return
    grid = _make_grid()
    for name, value in shown.items():
        grid.add_row(name, _format_names(value) if isinstance(value, list) else str(value))
    _console().print(grid)


def _format_names(found: list[str]) -> str:
    """Format names for people; many metrics by their families."""
    if len(found) < _MANY or found[0] not in Metric.__members__:
        return ", ".join(found)
    families = dict.fromkeys(Metric[name].family.name for name in found)
    return f"{len(found)}: those of {', '.join(families)} (see `reelport fields list metrics`)"


def _print_list(found: Iterable[Entry]) -> None:
    """Print entries below headings: a metric's is its family with the scopes needed."""
    groups: dict[str, list[Entry]] = {}
    for entry in found:
        groups.setdefault(_heading(entry), []).append(entry)
    console = _console()
    for heading, members in groups.items():
        console.print(heading, style="bold", markup=False)
        grid = _make_grid()
        for entry in members:
            grid.add_row(f"  {entry.name}", f"{entry.sentence} ({summarize(entry)['holds']})")
        console.print(grid)


def _heading(entry: Entry) -> str:
    if not isinstance(entry, Metric):
        return f"{type(entry).__name__}s"
    scopes = " and ".join(sorted(entry.family.scopes))
    return f"Metrics: {entry.family.name}{f' (needs {scopes})' if scopes else ''}"


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False)


def _make_grid() -> Table:
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column()
    return grid
