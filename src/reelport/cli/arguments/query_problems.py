"""Explain the problems of a query by a command's options, with the nearest valid query."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from itertools import combinations

from reelport import check
from reelport.catalog import Dimension, Filter, Grain, Limit, Metric, Product
from reelport.cli.arguments.options import QueryOptions, format_options
from reelport.errors import Problem, QueryRefused, UsageError
from reelport.query import DEFAULT_PRODUCT, ReportQuery, parse_day
from reelport.similar_names import nearest, suggest_dimension, suggest_name
from reelport.wire import Code
from reelport.wording import format_list

_OPTIONS = {
    "metrics": "--metrics",
    "dimensions": "--dimensions",
    "filters": "--filter",
    "startDate": "--start",
    "endDate": "--end",
    "product": "--product",
}
_LISTS = {Code.UNKNOWN_METRIC: "metrics", Code.UNKNOWN_DIMENSION: "dimensions", Code.UNKNOWN_FILTER: "filters"}
# Names that another service may know: reported only where something is wrong anyway.
_TOLD_EARLY = frozenset({*_LISTS, Code.UNKNOWN_FILTER_VALUE, Code.UNKNOWN_PRODUCT})
# Codes of problems that stand whatever the days are.
_TOLD_WITH_OTHERS = _TOLD_EARLY | {Code.NO_METRICS, Code.EMPTY_ITEM, Code.DUPLICATE, Code.TOO_MANY_DIMENSIONS}

_ADVICE = "would_work"


def name_options(error: QueryRefused, query: ReportQuery) -> QueryRefused:
    """Return the refusal with options for wire paths, and the nearest valid query at its end."""
    problems = problems_by_option(error.problems)
    near = nearest_sendable(_shorten_range(query, error.problems), datetime.now(UTC).date())
    if near is None or near.query == query:
        return QueryRefused(problems)
    sentence = f"{near.introduce()} {' '.join(format_options(near.query))}"
    return QueryRefused((*problems, Problem(_ADVICE, (), sentence, fatal=False)))


def problems_by_option(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Name options in problems; where no name is near, name the command that lists all."""
    found = []
    for each in problems:
        path = (_OPTIONS[str(each.path[0])],) if each.path and each.path[0] in _OPTIONS else each.path
        part = None if each.nearest else next((part for code, part in _LISTS.items() if each.code == code), None)
        advice = f" See `reelport fields list {part}`." if part else ""
        found.append(replace(each, path=path, sentence=f"{each.sentence}{advice}"))
    return tuple(found)


def refuse_unsendable(ask: QueryOptions) -> None:
    """Raise UsageError with every problem that the query would have at any service.

    These are wrong days, filters and unknown names; where the days are valid, also impossible combinations.
    """
    wrong: list[str] = []
    today = datetime.now(UTC).date()
    query = ask.read(today, wrong)
    found = check.problems(query, today=today, rules=check.Rules(days=max(query.days, 1), strict=False))
    reported = [each for each in found if each.code in _TOLD_WITH_OTHERS or (not wrong and each.fatal)]
    if lines := wrong + [str(each) for each in problems_by_option(reported)]:
        raise UsageError("\n".join(lines))


@dataclass(frozen=True, slots=True)
class NearQuery:
    """A query that works instead of another, and the names of the other that it leaves out."""

    query: ReportQuery
    dropped: tuple[str, ...]

    def introduce(self) -> str:
        """Begin the sentence that ends with the query."""
        without = f", without {format_list(self.dropped)}" if self.dropped else ""
        return f"This would work{without}:"


def nearest_sendable(query: ReportQuery, today: date) -> NearQuery | None:
    """Return the nearest query with no known problem; None where none is found."""
    found = nearest_valid_query(query)
    if found is None:
        return None
    near = found.query
    start, end = sorted((min(near.start, today), min(near.end, today)))
    product = near.product if near.product in Product.__members__ else nearest(near.product, Product.__members__)
    near = replace(near, start=start, end=end, product=product or DEFAULT_PRODUCT)
    wrong = check.problems(near, today=today, rules=check.Rules(days=near.days))
    dropped = found.dropped if product else (*found.dropped, query.product)
    return None if any(problem.fatal for problem in wrong) else NearQuery(near, dropped)


def _shorten_range(query: ReportQuery, problems: Iterable[Problem]) -> ReportQuery:
    last_day = next((each.nearest for each in problems if each.code == Code.RANGE_TOO_LONG), None)
    try:
        return query.within(query.start, parse_day(last_day or ""))
    except ValueError:  # no day was named, or it is malformed
        return query


def nearest_valid_query(query: ReportQuery) -> NearQuery | None:
    """Return the nearest combination that a service takes; None when no metric is recognized.

    Mistyped names become the nearest known ones. A dimension that doesn't go with the metrics is dropped, or exchanged
    for one with a similar name that does. Of combinations that keep equally many names, the one with more metrics wins,
    then the one with earlier ones.
    """
    metrics = _resolve_names(query.metrics, Metric.__members__)
    dimensions = _resolve_names(query.dimensions, Dimension.__members__)
    filters = _resolve_names((name for name, _ in query.filters), Filter.__members__)
    combinations_ = _list_combinations(
        [Metric[name] for name in _list_known(metrics)],
        [Dimension[name] for name in _list_known(dimensions)],
        _list_known(filters),
    )
    chosen = max(combinations_, key=lambda kept: (sum(len(names) for names in kept), len(kept[0])), default=None)
    if chosen is None:
        return None
    kept_metrics, kept_dimensions, kept_filters = chosen
    values = {filters[name]: value for name, value in query.filters}
    near = replace(
        query,
        metrics=tuple(row.name for row in kept_metrics),
        dimensions=tuple(row.name for row in kept_dimensions),
        filters=tuple((name, _resolve_value(Filter[name], values[name])) for name in kept_filters),
    )
    kept = {*near.metrics, *near.dimensions, *kept_filters}
    asked = [*metrics.items(), *dimensions.items(), *filters.items()]
    return NearQuery(near, tuple(name for name, known in asked if known not in kept))


def _list_combinations(
    metrics: list[Metric], dimensions: list[Dimension], filters: list[str]
) -> Iterator[tuple[list[Metric], list[Dimension], list[str]]]:
    """Give for each choice of families its metrics, and the dimensions and filters fitting all."""
    families = list(dict.fromkeys(metric.family for metric in metrics))
    for count in range(len(families), 0, -1):
        for some in combinations(families, count):
            row = frozenset(Dimension).intersection(*(family.dimensions() for family in some))
            grain = max(family.grain for family in some)
            others = {each.name for each in row.difference(dimensions)}
            fitting = dict.fromkeys(_fit_dimension(dimension, row, grain, others) for dimension in dimensions)
            yield (
                [metric for metric in metrics if metric.family in some],
                [each for each in fitting if each is not None][: Limit.DIMENSIONS.default],
                [name for name in filters if all(Filter[name] in family.filters for family in some)],
            )


def _fit_dimension(
    dimension: Dimension, row: frozenset[Dimension], grain: Grain, others: Collection[str]
) -> Dimension | None:
    if dimension in row:
        return dimension
    if dimension.grain is None:
        near = suggest_dimension(dimension.name, others)
        return None if near is None else Dimension[near]
    if dimension.grain >= grain:
        return None
    return next((each for each in row if each.grain == grain), None)


def _resolve_names(names: Iterable[str], known: Collection[str]) -> Mapping[str, str | None]:
    return {name: name if name in known else suggest_name(name, known) for name in names}


def _list_known(names: Mapping[str, str | None]) -> list[str]:
    return list(dict.fromkeys(name for name in names.values() if name is not None))


def _resolve_value(row: Filter, value: str) -> str:
    return value if value in row.choices else nearest(value, row.choices) or value
