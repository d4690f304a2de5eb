"""Row-level security: selects the tenant's rows, and the channel by which each is its own."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from sqlglot import exp

from reelport.engine.mapping import PAYEE
from reelport.engine.resolved_query import SourceQuery
from reelport.engine.trees import DIALECT, call, qualify, subquery

_PAYEE = "payee"
_KEPT = 64
"""Tenants whose list of ids is kept as SQL."""


def is_own_row(source_query: SourceQuery) -> exp.Expr:
    """Whether a row is the tenant's: one of its channels has one of the query's roles.

    A paid row also needs that channel as its payee; where several roles count, only a payee of the tenant's.
    """
    if len(source_query.roles) > 1:
        return exp.or_(*(each.is_(exp.null()).not_() for each in _own_channels(source_query)), copy=False)
    channels, own = source_query.resolved.tenant.listed_channels, qualifying_channel(source_query)
    # A list of constants lets DuckDB skip whole row groups of a file.
    listed = own.is_(exp.null()).not_() if channels is None else exp.In(this=own, expressions=_ids(channels))
    return (
        exp.and_(listed, exp.EQ(this=_payee(source_query), expression=own.copy()))
        if source_query.source.paid
        else listed
    )


def channel_joins(source_query: SourceQuery) -> Iterator[tuple[exp.Expr, exp.Expr]]:
    """Where several roles count, join the tenant's channels by each: relation and condition.

    Comparing several columns with a list of many channels takes ten times as long. Each channel is listed once, so a
    join never duplicates a row.
    """
    channels = source_query.resolved.tenant.listed_channels
    if len(source_query.roles) > 1 and channels is not None:
        for name, channel in _candidate_channels(source_query).items():
            listed = exp.select(call("UNNEST", exp.Array(expressions=_ids(channels))).as_("id"))
            yield subquery(listed, _alias(name)), exp.EQ(this=_joined_id(name), expression=channel)


def qualifying_channel(source_query: SourceQuery) -> exp.Expr:
    """The channel by which the row is the tenant's: the payee, or the first role that matches."""
    if len(source_query.roles) == 1:
        return exp.column(source_query.roles[0], source_query.source.table)
    first, *others = _own_channels(source_query)
    return call("COALESCE", first, *others) if others else first


def _own_channels(source_query: SourceQuery) -> list[exp.Expr]:
    """Each candidate, or NULL where it is not one of the tenant's channels."""
    candidates = _candidate_channels(source_query)
    if source_query.resolved.tenant.listed_channels is None:
        return list(candidates.values())
    return [_joined_id(name) for name in candidates]


def _candidate_channels(source_query: SourceQuery) -> dict[str, exp.Expr]:
    """The channels that can make a row the tenant's: the payee, or one for each role."""
    if source_query.source.paid:
        return {_PAYEE: _payee(source_query)}
    return {role: exp.column(role, source_query.source.table) for role in source_query.roles}


def _payee(source_query: SourceQuery) -> exp.Expr:
    return qualify(PAYEE, source_query.source.table)


def _ids(channels: frozenset[str]) -> list[exp.Expr]:
    # As one text: a tree of literals is copied and written anew for each report.
    return [exp.Var(this=_write_ids(channels))]


@lru_cache(_KEPT)
def _write_ids(channels: frozenset[str]) -> str:
    return ", ".join(exp.Literal.string(channel).sql(dialect=DIALECT) for channel in sorted(channels))


def _joined_id(name: str) -> exp.Column:
    return exp.column("id", _alias(name))


def _alias(name: str) -> str:
    return f"own_by_{name}"
