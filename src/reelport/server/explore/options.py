"""What can be added to a view, and why the rest can't."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from typing import Generic, TypeVar

from reelport import check
from reelport.catalog import Dimension, Filter, Metric
from reelport.check import Rules
from reelport.query import ReportQuery
from reelport.server.explore.view import View

_DAY = date(2000, 1, 1)
_ANY = "?"
"""Stands for the value of a filter that takes any text."""
Row = TypeVar("Row", Metric, Dimension, Filter)


@dataclass(frozen=True, slots=True)
class Option(Generic[Row]):
    """A row of the catalog that a view has or might have; `reason` says why it can't be added."""

    row: Row
    is_chosen: bool
    reason: str | None = None

    @property
    def is_greyed(self) -> bool:
        """Whether it can't be added."""
        return self.reason is not None


@dataclass(frozen=True, slots=True)
class Options:
    """All metrics, leaderboards and filters, those of the view and the others."""

    metrics: tuple[Option[Metric], ...]
    dimensions: tuple[Option[Dimension], ...]
    filters: tuple[Option[Filter], ...]


def list_options(view: View, rules: Rules) -> Options:
    """List what the view has and could have; what not, with why a report would be refused."""
    # Reasons depend on names alone: days and values of filters would only spoil the cache.
    filters = tuple(sorted(_pair(filter_) for filter_, _ in view.filters))
    return _list_options(replace(view.report_query(), filters=filters, start=_DAY, end=_DAY), view.dimensions, rules)


@lru_cache(maxsize=256)
def _list_options(query: ReportQuery, boards: tuple[Dimension, ...], rules: Rules) -> Options:
    chosen = {row.name for row in boards}
    # What only narrows the view is in its report already, and may become a leaderboard.
    narrowing = {row for row in Dimension if row.name in query.dimensions and row not in boards}
    allowed = check.allowed_with(query, rules)
    metrics = (
        _offer(row, query.metrics, allowed.metrics, replace(query, metrics=(*query.metrics, row.name)), rules)
        for row in Metric
    )
    dimensions = (
        _offer(
            row,
            chosen,
            narrowing.union(allowed.dimensions),
            replace(query, dimensions=(*query.dimensions, row.name)),
            rules,
        )
        for row in Dimension
        if row.grain is None
    )
    filters = (
        _offer(row, dict(query.filters), allowed.filters, replace(query, filters=(*query.filters, _pair(row))), rules)
        for row in Filter
    )
    return Options(tuple(metrics), tuple(dimensions), tuple(filters))


def _offer(
    row: Row, chosen: Collection[str], fitting: Collection[Row], added: ReportQuery, rules: Rules
) -> Option[Row]:
    """Offer a row that is chosen or fits; of another, say why the query with it is refused."""
    if row.name in chosen or row in fitting:
        return Option(row, row.name in chosen)
    found = check.problems(added, today=_DAY, rules=rules)
    return Option(row, is_chosen=False, reason=next(each.sentence for each in found))


def _pair(row: Filter) -> tuple[str, str]:
    return row.name, (*row.choices, _ANY)[0]
