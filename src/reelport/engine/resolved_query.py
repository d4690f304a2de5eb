"""Resolves a checked query's names to rows of the catalog, and splits it by source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from reelport import check
from reelport.catalog import Dimension, Filter, Grain, Metric, Product, Role, Rule, measures
from reelport.engine.mapping import MEASURES, Source, can_split
from reelport.engine.tenant import Tenant
from reelport.errors import AccessError, InternalError
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


@dataclass(frozen=True, slots=True)
class ResolvedQuery:
    """A checked query in rows of the catalog, and the tenant that asks.

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

    def list_files(self, snapshot: Snapshot) -> tuple[DataFile, ...]:
        """List the files of a snapshot that may hold rows that count."""
        channels = self.resolved.tenant.listed_channels if self.owner_only else None
        return snapshot.data_files(self.source.table, self.resolved.start, self.resolved.end, channels)

    def count_rows(self, snapshot: Snapshot) -> int:
        """Count the rows in these files. No file is opened."""
        return sum(file.rows for file in self.list_files(snapshot))


def make_source_query(resolved: ResolvedQuery, source: Source) -> SourceQuery | None:
    """Make the query over one source; None when no row of the source can be the tenant's."""
    lacking = [dimension.name for dimension in resolved.dimensions if not can_split(source, dimension)]
    lacking += [row.name for row, _ in resolved.conditions if not can_split(source, row)]
    if lacking:
        raise InternalError(f"{source.name} facts carry no {', '.join(lacking)}: the query was not checked")
    roles = tuple(source.roles[role] for role in resolved.roles if role in source.roles)
    return SourceQuery(resolved, source, roles) if roles and resolved.tenant.listed_channels != frozenset() else None


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
