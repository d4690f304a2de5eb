"""A refused query in the words of the command line: every problem by its option, and what would work instead."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime

from reelport import check
from reelport.catalog import Product
from reelport.cli.arguments.nearest_valid_query import nearest_valid_query
from reelport.cli.arguments.options import Ask, words_of
from reelport.errors import Problem, QueryRefused, UsageError
from reelport.query import DEFAULT_PRODUCT, ReportQuery, parse_day
from reelport.wire import Code

_OPTIONS = {
    "metrics": "--metrics",
    "dimensions": "--dimensions",
    "filters": "--filter",
    "startDate": "--start",
    "endDate": "--end",
    "product": "--product",
}
_LISTS = {Code.UNKNOWN_METRIC: "metrics", Code.UNKNOWN_DIMENSION: "dimensions", Code.UNKNOWN_FILTER: "filters"}
_TOLD_EARLY = frozenset({*_LISTS, Code.UNKNOWN_FILTER_VALUE, Code.UNKNOWN_PRODUCT})
"""Names that another service may know: told only where something is wrong anyway."""

_ADVICE = "would_work"


def in_options(error: QueryRefused, query: ReportQuery, today: date | None = None) -> QueryRefused:
    """The same refusal with options for the wire's paths, and the nearest query that is possible as its last line."""
    problems = by_option(error.problems)
    near = nearest(_shortened(query, error.problems), today or datetime.now(UTC).date())
    if near is None or near == query:
        return QueryRefused(problems)
    sentence = f"This would work: {' '.join(words_of(near))}"
    return QueryRefused((*problems, Problem(_ADVICE, (), sentence, fatal=False)))


def by_option(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """The same problems at options, and with the command that shows all names where none is near."""
    return tuple(
        replace(problem, path=_option(problem.path), sentence=f"{problem.sentence}{_names(problem)}")
        for problem in problems
    )


def refuse_unsendable(ask: Ask) -> None:
    """Raise UsageError with all that is wrong with what is asked for, whichever the service."""
    if lines := find_ask_problems(ask, frozenset()):
        raise UsageError("\n".join(lines))


def find_ask_problems(ask: Ask, lacking: frozenset[str]) -> list[str]:
    """What is wrong with what is asked for, whichever the service, a line each.

    That is days, filters and unknown names; of a question that lacks no option and has sound days, its sense too.
    """
    wrong: list[str] = []
    today = datetime.now(UTC).date()
    query = ask.read(today, wrong)
    whole = not (lacking or wrong)
    found = check.problems(query, today=today, rules=check.Rules(days=max(query.days, 1), strict=False))
    told = [each for each in found if each.code in _TOLD_EARLY or (whole and each.fatal)]
    return wrong + [str(each) for each in by_option(told) if lacking.isdisjoint(map(str, each.path))]


def nearest(query: ReportQuery, today: date) -> ReportQuery | None:
    """The nearest query that nothing speaks against, as far as can be told here."""
    near = nearest_valid_query(query)
    if near is None:
        return None
    start, end = sorted((min(near.start, today), min(near.end, today)))
    product = near.product if near.product in Product.__members__ else check.nearest(near.product, Product.__members__)
    near = replace(near, start=start, end=end, product=product or DEFAULT_PRODUCT)
    wrong = check.problems(near, today=today, rules=check.Rules(days=near.days))
    return None if any(problem.fatal for problem in wrong) else near


def _shortened(query: ReportQuery, problems: Iterable[Problem]) -> ReportQuery:
    """The query up to the day that was said to be the last possible, where its range was said to be too long."""
    said = next((each.nearest for each in problems if each.code == Code.RANGE_TOO_LONG), None)
    try:
        return query.within(query.start, parse_day(said or ""))
    except ValueError:  # nothing was said, or nothing that is a day
        return query


def _names(problem: Problem) -> str:
    part = next((part for code, part in _LISTS.items() if problem.code == code), None)
    return f" See `reelport fields list {part}`." if part and problem.nearest is None else ""


def _option(path: tuple[str | int, ...]) -> tuple[str | int, ...]:
    return (_OPTIONS[str(path[0])],) if path and path[0] in _OPTIONS else path
