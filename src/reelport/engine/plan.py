"""Plans: SQL that gives the rows of a report's CSV, at once or in pieces."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoredObjects:
    """One pinned object table: the relation that reads all of its files, and how many rows.

    `left_out` are columns that no report reads: in memory they would take room of others.
    """

    sql: str
    rows: int
    left_out: tuple[str, ...] = ()

    @property
    def kept_sql(self) -> str:
        """The relation of what is kept in memory."""
        shown = f"* EXCLUDE ({', '.join(self.left_out)})" if self.left_out else "*"
        return f"(SELECT {shown} FROM {self.sql})"  # noqa: S608 - columns and a relation of ours


@dataclass(frozen=True, slots=True)
class Plan:
    """One SELECT that gives the rows of a CSV in order, and the CSV's header.

    The relations of `objects` are parts of the SQL, letter by letter: an engine that has their rows in memory replaces
    them. `share` is the part of the report's days that are in earlier plans.
    """

    sql: str
    columns: tuple[str, ...]
    objects: tuple[StoredObjects, ...] = ()
    share: float = 0.0


def join_selects(selects: Sequence[str], scans: Mapping[str, str]) -> Plan:
    """Join SELECTs that read from named scans to a plan of one row.

    The row has a list of the rows of each, as dicts. DuckDB reads a scan once for all of them, and hands its rows on
    without keeping them.
    """
    # A scan with one reader is part of that: it needs no chunks of its own.
    shared = "MATERIALIZED " if len(selects) > 1 else ""
    named = ", ".join(f"{name} AS {shared}({sql})" for name, sql in scans.items())
    lists = ", ".join(f"(SELECT list(t) FROM ({each}) AS t)" for each in selects)  # noqa: S608 - SQL that was compiled
    return Plan(f"{f'WITH {named} ' if scans else ''}SELECT {lists}", ())


Pieces = Generator[Plan, int | None, None]
"""Yields plans in the order of their rows. Send it the number of rows that the previous plan gave, None at first."""


def single_piece(plan: Plan) -> Pieces:
    """Yield the one plan of a report that isn't split."""
    yield plan
