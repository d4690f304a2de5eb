"""Resolves a checked query's names to rows of the catalog, and splits it by source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from reelport import check
from reelport.catalog import Dimension, Filter, Grain, Metric, Product, Role, Rule, measures
from reelport.engine.mapping import (
    CELLS,
    LOOKUPS,
    MEASURES,
    ColumnCell,
    LookupCell,
    Source,
    can_split,
    find_sources,
)
from reelport.engine.tenant import Tenant
from reelport.errors import AccessError, InternalError
from reelport.facts.tables import OWNER
from reelport.query import ReportQuery

if TYPE_CHECKING:
    from reelport.facts.log.log_entry import DataFile
    from reelport.facts.log.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Refinement:
    """What a view asks for beyond a report.

    `kept` are cells, of each dimension any one of which a row has; the empty text stands for the empty cell. With
    `by_week` a day stands for its week, which begins on a Monday.
    """

    kept: tuple[tuple[Dimension, str], ...] = ()
    by_week: bool = False


PLAIN = Refinement()
Conditions = tuple[tuple[Dimension, tuple[str, ...]], ...]
LookupCells = Mapping[Dimension, LookupCell]
_TIMES = ("TIMESTAMP", "DATE")
"""The SQL types of times finer than a day, and of days and months."""


@dataclass(frozen=True, slots=True)
class ResolvedQuery:
    """A checked query in rows of the catalog, and the tenant that asks: what is aggregated.

    A row counts if it has any of the cells of each of the `conditions`.
    """

    metrics: tuple[Metric, ...]
    dimensions: tuple[Dimension, ...]
    conditions: Conditions
    roles: tuple[Role, ...]
    start: date
    end: date
    tenant: Tenant
    by_week: bool = False

    @property
    def headers(self) -> tuple[str, ...]:
        """The names of the report's columns."""
        return (*(row.header for row in self.dimensions), *(row.header for row in self.metrics))

    @property
    def measures(self) -> tuple[str, ...]:
        """Every measure of the metrics, each once."""
        return tuple(dict.fromkeys(name for metric in self.metrics for name in measures(metric.rule)))

    @property
    def sources(self) -> tuple[SourceQuery, ...]:
        """The query over each source that can have rows of the tenant's.

        InternalError if the query was not checked.
        """
        found = (self._narrow_to(source) for source in find_sources(self.metrics))
        return tuple(each for each in found if each.roles and self.tenant.listed_channels != frozenset())

    def _narrow_to(self, source: Source) -> SourceQuery:
        split_by = (*self.dimensions, *(row for row, _ in self.conditions))
        if lacking := [row.name for row in split_by if not can_split(source, row)]:
            raise InternalError(f"{source.name} facts carry no {', '.join(lacking)}: the query was not checked")
        return SourceQuery(self, source, tuple(source.roles[role] for role in self.roles if role in source.roles))

    @property
    def early_lookups(self) -> LookupCells:
        """The lookups to join before grouping: rows are grouped by what they find."""
        late = self.late_lookups
        return {dimension: cell for dimension, cell in self._list_lookups() if dimension not in late}

    @property
    def late_lookups(self) -> LookupCells:
        """The lookups whose id is itself a dimension of the report: they need no grouping."""
        ids = {cell.column for cell in map(CELLS.__getitem__, self.dimensions) if isinstance(cell, ColumnCell)}
        found = self._list_lookups()
        return {dimension: cell for dimension, cell in found if cell.key in ids and LOOKUPS[cell.lookup].unique}

    def _list_lookups(self) -> Iterator[tuple[Dimension, LookupCell]]:
        for dimension in self.dimensions:
            if isinstance(cell := CELLS[dimension], LookupCell):
                yield dimension, cell

    @property
    def keys(self) -> tuple[Dimension, ...]:
        """The dimensions to group by: all but those that are looked up late."""
        late = self.late_lookups
        return tuple(dimension for dimension in self.dimensions if dimension not in late)

    @property
    def column_types(self) -> dict[str, str]:
        """The SQL type of each aggregated column, by name: of keys, then of measures.

        Times are UTC, without a zone.
        """
        keys = {key.header: "TEXT" if key.grain is None else _TIMES[key.grain >= Grain.DAY] for key in self.keys}
        return keys | {name: MEASURES[name].type for name in self.measures}

    def bucket(self, grain: Grain) -> Grain:
        """The grain that rows are grouped by, for a dimension of time of this grain."""
        return Grain.WEEK if self.by_week else grain

    def rules_over(self, source: Source) -> Iterator[Rule]:
        """Yield the rules of the metrics that have a measure in the source."""
        for metric in self.metrics:
            if any(MEASURES[name].source is source for name in measures(metric.rule)):
                yield metric.rule


@dataclass(frozen=True, slots=True)
class SourceQuery:
    """The part of a report that comes from one source.

    `roles` are its role columns that count, first match first.
    """

    resolved: ResolvedQuery
    source: Source
    roles: tuple[str, ...]

    @property
    def owner_only(self) -> bool:
        """Whether a row counts only by its owner's channel."""
        return self.only_role == self.source.roles[Role.OWNER]

    @property
    def only_role(self) -> str | None:
        """The one role column by which a row counts; None where several do."""
        return self.roles[0] if len(self.roles) == 1 else None

    @property
    def listed_channels(self) -> frozenset[str] | None:
        """The channels by which one role chooses rows.

        None where several roles do, or where rows of every channel count.
        """
        return self.resolved.tenant.listed_channels if self.only_role else None

    def list_paths(self, snapshot: Snapshot) -> tuple[str, ...]:
        """List the paths of its facts, fetched if need be: of copies by its one role, or files."""
        days, role = (self.resolved.start, self.resolved.end), self.only_role or OWNER
        return snapshot.files(self.source.table, *days, self.listed_channels, role)

    def list_files(self, snapshot: Snapshot) -> tuple[DataFile, ...]:
        """List the files of a snapshot that may hold rows that count."""
        channels = self.resolved.tenant.listed_channels if self.owner_only else None
        return snapshot.data_files(self.source.table, self.resolved.start, self.resolved.end, channels)

    def count_rows(self, snapshot: Snapshot) -> int:
        """Count the rows in these files. No file is opened."""
        return sum(file.rows for file in self.list_files(snapshot))


def resolve_query(query: ReportQuery, tenant: Tenant, refinement: Refinement = PLAIN) -> ResolvedQuery:
    """Resolve the query's names to rows of the catalog; AccessError beyond the tenant's scopes."""
    if tenant.scopes is not None and (lacking := check.scopes_of(query) - tenant.scopes):
        raise AccessError(f"These numbers need the scope {min(lacking)}, which this role lacks.")
    return ResolvedQuery(
        tuple(Metric[name] for name in query.metrics),
        tuple(Dimension[name] for name in query.dimensions),
        (*_read_filters(query), *_group_cells(refinement)),
        Product[query.product].roles,
        query.start,
        query.end,
        tenant,
        refinement.by_week,
    )


def _read_filters(query: ReportQuery) -> Conditions:
    filters = ((Filter[name], value) for name, value in query.filters)
    return tuple((row.dimension, (value.lower() if row.choices else value,)) for row, value in filters)


def _group_cells(refinement: Refinement) -> Conditions:
    cells: dict[Dimension, list[str]] = {}
    for dimension, cell in refinement.kept:
        cells.setdefault(dimension, []).append(cell)
    return tuple((dimension, tuple(texts)) for dimension, texts in cells.items())
