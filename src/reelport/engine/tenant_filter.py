"""The wall between partners: which rows are the reader's, and by which of its channels."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from reelport.engine.mapping import PAYEE
from reelport.engine.resolved_query import SourceQuery
from reelport.engine.trees import call, qualify, subquery

_PAYEE = "payee"


def is_own_row(source_query: SourceQuery) -> exp.Expr:
    """Whether one of the reader's channels stands in one of the part's roles, and is the payee of a paid row.

    Over all roles a payee counts whichever it stands in, and also where it stands in none.
    """
    if len(source_query.roles) > 1:
        return exp.or_(
            *(_joined_id(name).is_(exp.null()).not_() for name in _candidate_channels(source_query)), copy=False
        )
    # A list next to the column lets the engine leave out whole blocks of a file.
    listed = exp.In(this=qualifying_channel(source_query), expressions=_ids(source_query))
    return (
        exp.and_(listed, exp.EQ(this=_payee(source_query), expression=qualifying_channel(source_query)))
        if source_query.source.paid
        else listed
    )


def channel_joins(source_query: SourceQuery) -> Iterator[tuple[exp.Expr, exp.Expr]]:
    """What `mine` and `qualifying` look at where several roles count: the reader's channels, joined by each of them.

    Lists of many channels in several columns would be gone through row by row: joins
    take a tenth of the time. A channel is listed once, so that each row stays once.
    """
    if len(source_query.roles) > 1:
        for name, channel in _candidate_channels(source_query).items():
            channels = exp.select(call("UNNEST", exp.Array(expressions=_ids(source_query))).as_("id"))
            yield subquery(channels, _alias(name)), exp.EQ(this=_joined_id(name), expression=channel)


def qualifying_channel(source_query: SourceQuery) -> exp.Expr:
    """The reader's channel by which the row is its own: its payee, or the first of the roles that matches."""
    if len(source_query.roles) == 1:
        return exp.column(source_query.roles[0], source_query.source.table)
    first, *others = (_joined_id(name) for name in _candidate_channels(source_query))
    return call("COALESCE", first, *others) if others else first


def _candidate_channels(source_query: SourceQuery) -> dict[str, exp.Expr]:
    """The channels that can make a row the reader's where several roles count: its payee's, or one a role."""
    if source_query.source.paid:
        return {_PAYEE: _payee(source_query)}
    return {role: exp.column(role, source_query.source.table) for role in source_query.roles}


def _payee(source_query: SourceQuery) -> exp.Expr:
    return qualify(PAYEE, source_query.source.table)


def _ids(source_query: SourceQuery) -> list[exp.Expr]:
    return [exp.Literal.string(channel) for channel in sorted(source_query.resolved.tenant.channels)]


def _joined_id(name: str) -> exp.Column:
    return exp.column("id", _alias(name))


def _alias(name: str) -> str:
    return f"mine_by_{name}"
