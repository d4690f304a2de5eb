"""Resolves a checked query's names to rows of the catalog, and splits it by source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from reelport.catalog import Dimension, Filter, Metric, Product, Role, Rule, measures
from reelport.engine.mapping import MEASURES, Source, can_split
from reelport.engine.tenant import Tenant
from reelport.errors import InternalError
from reelport.query import ReportQuery


@dataclass(frozen=True, slots=True)
class ResolvedQuery:
    """A checked query in rows of the catalog, and the tenant that asks."""

    metrics: tuple[Metric, ...]
    dimensions: tuple[Dimension, ...]
    filters: tuple[tuple[Filter, str], ...]
    roles: tuple[Role, ...]
    start: date
    end: date
    tenant: Tenant

    @property
    def headers(self) -> tuple[str, ...]:
        """The names of the report's columns."""
        return (*(row.header for row in self.dimensions), *(row.header for row in self.metrics))

    @property
    def measures(self) -> tuple[str, ...]:
        """Every measure of the metrics, each once."""
        return tuple(dict.fromkeys(name for metric in self.metrics for name in measures(metric.rule)))

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


def make_source_query(resolved: ResolvedQuery, source: Source) -> SourceQuery | None:
    """Make the query over one source; None when no row of the source can be the tenant's."""
    lacking = [dimension.name for dimension in resolved.dimensions if not can_split(source, dimension)]
    lacking += [row.name for row, _ in resolved.filters if not can_split(source, row.dimension)]
    if lacking:
        raise InternalError(f"{source.name} facts carry no {', '.join(lacking)}: the query was not checked")
    roles = tuple(source.roles[role] for role in resolved.roles if role in source.roles)
    return SourceQuery(resolved, source, roles) if roles and resolved.tenant.channels else None


def resolve_query(query: ReportQuery, tenant: Tenant) -> ResolvedQuery:
    """Resolve the query's names to rows of the catalog."""
    return ResolvedQuery(
        tuple(Metric[name] for name in query.metrics),
        tuple(Dimension[name] for name in query.dimensions),
        tuple((Filter[name], value) for name, value in query.filters),
        Product[query.product].roles,
        query.start,
        query.end,
        tenant,
    )
