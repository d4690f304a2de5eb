"""Find the valid query nearest to an invalid one: drop or change the fewest names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import combinations

from reelport.catalog import Dimension, Filter, Grain, Limit, Metric
from reelport.check import suggest_name
from reelport.query import ReportQuery


def nearest_valid_query(query: ReportQuery) -> ReportQuery | None:
    """Return the nearest combination that a service takes; None when no metric is recognized.

    Mistyped names become the nearest known ones. Of combinations that keep equally many names, the one with more
    metrics wins, then the one with earlier ones.
    """
    metrics = [Metric[name] for name in _resolve_names(query.metrics, Metric.__members__)]
    dimensions = [Dimension[name] for name in _resolve_names(query.dimensions, Dimension.__members__)]
    filters = _resolve_names((name for name, _ in query.filters), Filter.__members__)
    chosen = max(_combinations(metrics, dimensions, filters), key=_count_kept, default=None)
    if chosen is None:
        return None
    kept_metrics, kept_dimensions, kept_filters = chosen
    values = dict(query.filters)
    return replace(
        query,
        metrics=tuple(row.name for row in kept_metrics),
        dimensions=tuple(row.name for row in kept_dimensions),
        filters=tuple((name, values.get(name, "")) for name in kept_filters),
    )


_Combination = tuple[list[Metric], list[Dimension], list[str]]


def _combinations(metrics: list[Metric], dimensions: list[Dimension], filters: list[str]) -> Iterator[_Combination]:
    """Give for each choice of families its metrics, and the dimensions and filters fitting all."""
    families = list(dict.fromkeys(metric.family for metric in metrics))
    for count in range(len(families), 0, -1):
        for some in combinations(families, count):
            row = frozenset(Dimension).intersection(*(family.dimensions() for family in some))
            grain = max(family.grain for family in some)
            fitting = dict.fromkeys(_fit_dimension(dimension, row, grain) for dimension in dimensions)
            yield (
                [metric for metric in metrics if metric.family in some],
                [each for each in fitting if each is not None][: Limit.DIMENSIONS.default],
                [name for name in filters if all(Filter[name] in family.filters for family in some)],
            )


def _fit_dimension(dimension: Dimension, row: frozenset[Dimension], grain: Grain) -> Dimension | None:
    """Return the dimension, or the finest allowed time for a finer one; None if nothing fits."""
    if dimension in row:
        return dimension
    if dimension.grain is None or dimension.grain >= grain:
        return None
    return next((each for each in row if each.grain == grain), None)


def _count_kept(combination: _Combination) -> tuple[int, int]:
    metrics, dimensions, filters = combination
    return len(metrics) + len(dimensions) + len(filters), len(metrics)


def _resolve_names(names: Iterable[str], known: Iterable[str]) -> list[str]:
    known_names = list(known)
    found = [name if name in known_names else suggest_name(name, known_names) for name in names]
    return list(dict.fromkeys(name for name in found if name is not None))
