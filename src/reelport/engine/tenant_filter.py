"""The wall between partners: which rows are the reader's, and by which of its channels."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from reelport.engine.mapping import PAYEE
from reelport.engine.resolved_query import SourceQuery
from reelport.engine.trees import call, subquery, within

_PAYEE = "payee"


def is_own_row(part: SourceQuery) -> exp.Expr:
    """Whether one of the reader's channels stands in one of the part's roles, and is the payee of a paid row.

    Over all roles a payee counts whichever it stands in, and also where it stands in none.
    """
    if len(part.roles) > 1:
        return exp.or_(*(_match(name).is_(exp.null()).not_() for name in _channels(part)), copy=False)
    # A list next to the column lets the engine leave out whole blocks of a file.
    listed = exp.In(this=qualifying_channel(part), expressions=_ids(part))
    return (
        exp.and_(listed, exp.EQ(this=_payee(part), expression=qualifying_channel(part))) if part.source.paid else listed
    )


def joins(part: SourceQuery) -> Iterator[tuple[exp.Expr, exp.Expr]]:
    """What `mine` and `qualifying` look at where several roles count: the reader's channels, joined by each of them.

    Lists of many channels in several columns would be gone through row by row: joins
    take a tenth of the time. A channel is listed once, so that each row stays once.
    """
    if len(part.roles) > 1:
        for name, channel in _channels(part).items():
            channels = exp.select(call("UNNEST", exp.Array(expressions=_ids(part))).as_("id"))
            yield subquery(channels, _alias(name)), exp.EQ(this=_match(name), expression=channel)


def qualifying_channel(part: SourceQuery) -> exp.Expr:
    """The reader's channel by which the row is its own: its payee, or the first of the roles that matches."""
    if len(part.roles) == 1:
        return exp.column(part.roles[0], part.source.table)
    first, *others = (_match(name) for name in _channels(part))
    return call("COALESCE", first, *others) if others else first


def _channels(part: SourceQuery) -> dict[str, exp.Expr]:
    """The channels that can make a row the reader's where several roles count: its payee's, or one a role."""
    if part.source.paid:
        return {_PAYEE: _payee(part)}
    return {role: exp.column(role, part.source.table) for role in part.roles}


def _payee(part: SourceQuery) -> exp.Expr:
    return within(PAYEE, part.source.table)


def _ids(part: SourceQuery) -> list[exp.Expr]:
    return [exp.Literal.string(channel) for channel in sorted(part.asked.tenant.channels)]


def _match(name: str) -> exp.Column:
    return exp.column("id", _alias(name))


def _alias(name: str) -> str:
    return f"mine_by_{name}"
