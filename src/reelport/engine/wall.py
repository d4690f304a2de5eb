"""The wall between partners: which rows are the reader's, and by which of its channels."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from reelport.engine.asked import Part
from reelport.engine.trees import call, subquery


def mine(part: Part) -> exp.Expr:
    """Whether one of the reader's channels stands in one of the part's roles."""
    if len(part.roles) == 1:
        # A list next to the column lets the engine leave out whole blocks of a file.
        return exp.In(this=exp.column(part.roles[0], part.source.table), expressions=_ids(part))
    return exp.or_(*(_match(role).is_(exp.null()).not_() for role in part.roles), copy=False)


def joins(part: Part) -> Iterator[tuple[exp.Expr, exp.Expr]]:
    """What `mine` and `qualifying` look at where several roles count: the reader's channels, joined by each role.

    Lists of many channels in several columns would be gone through row by row: joins
    take a tenth of the time. A channel is listed once, so that each row stays once.
    """
    if len(part.roles) > 1:
        for role in part.roles:
            channels = exp.select(call("UNNEST", exp.Array(expressions=_ids(part))).as_("id"))
            on = exp.EQ(this=_match(role), expression=exp.column(role, part.source.table))
            yield subquery(channels, _alias(role)), on


def qualifying(part: Part) -> exp.Expr:
    """The reader's channel by which the row is its own: the first of the roles that matches."""
    if len(part.roles) == 1:
        return exp.column(part.roles[0], part.source.table)
    return call("COALESCE", *(_match(role) for role in part.roles))


def _ids(part: Part) -> list[exp.Expr]:
    return [exp.Literal.string(channel) for channel in sorted(part.asked.reader.channels)]


def _match(role: str) -> exp.Column:
    return exp.column("id", _alias(role))


def _alias(role: str) -> str:
    return f"mine_by_{role}"
