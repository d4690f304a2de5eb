"""Row-level security: selects the tenant's rows, and the channel by which each is its own."""

from __future__ import annotations

from functools import lru_cache

from reelport.engine.mapping import PAYEE
from reelport.engine.resolved_query import SourceQuery
from reelport.sql_quoting import quote_text

_PAYEE = "payee"
_KEPT = 64
"""Tenants whose list of ids is kept as SQL."""


def is_own_row(source_query: SourceQuery) -> str:
    """Whether a row is the tenant's: one of its channels has one of the query's roles.

    A paid row also needs that channel as its payee; where several roles count, only a payee of the tenant's.
    """
    if len(source_query.roles) > 1:
        return f"({' OR '.join(f'{each} IS NOT NULL' for each in _own_channels(source_query))})"
    channels, own = source_query.resolved.tenant.listed_channels, qualifying_channel(source_query)
    # A list of constants lets DuckDB skip whole row groups of a file.
    listed = f"{own} IS NOT NULL" if channels is None else f"{own} IN ({_write_ids(channels)})"
    return f"{listed} AND {PAYEE} = {own}" if source_query.source.paid else listed


def join_channels(source_query: SourceQuery) -> str:
    """Where several roles count, join the tenant's channels by each.

    Comparing several columns with a list of many channels takes ten times as long. Each channel is listed once, so a
    join never duplicates a row.
    """
    channels = source_query.resolved.tenant.listed_channels
    if len(source_query.roles) <= 1 or channels is None:
        return ""
    listed = f"(SELECT UNNEST([{_write_ids(channels)}]) AS id)"
    return "".join(
        f" LEFT JOIN {listed} AS {_alias(name)} ON {_alias(name)}.id = {channel}"
        for name, channel in _candidate_channels(source_query).items()
    )


def qualifying_channel(source_query: SourceQuery) -> str:
    """The channel by which the row is the tenant's: the payee, or the first role that matches."""
    if len(source_query.roles) == 1:
        return f"{source_query.source.table}.{source_query.roles[0]}"
    first, *others = _own_channels(source_query)
    return f"COALESCE({', '.join([first, *others])})" if others else first


def _own_channels(source_query: SourceQuery) -> list[str]:
    """Each candidate, or NULL where it is not one of the tenant's channels."""
    candidates = _candidate_channels(source_query)
    if source_query.resolved.tenant.listed_channels is None:
        return list(candidates.values())
    return [f"{_alias(name)}.id" for name in candidates]


def _candidate_channels(source_query: SourceQuery) -> dict[str, str]:
    """The channels that can make a row the tenant's: the payee, or one for each role."""
    if source_query.source.paid:
        return {_PAYEE: PAYEE}
    return {role: f"{source_query.source.table}.{role}" for role in source_query.roles}


@lru_cache(_KEPT)
def _write_ids(channels: frozenset[str]) -> str:
    return ", ".join(map(quote_text, sorted(channels)))


def _alias(name: str) -> str:
    return f"own_by_{name}"
