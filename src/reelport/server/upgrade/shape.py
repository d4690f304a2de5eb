"""The tables and columns of a state database, and where two of its states differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, func, inspect, select, table

from reelport.wording import format_count, format_list


@dataclass(frozen=True, slots=True)
class TableShape:
    """The columns of a table, and how many rows it has."""

    columns: tuple[str, ...]
    rows: int


Shape = Mapping[str, TableShape]
"""The tables of a state database by name."""


def read_shape(connection: Connection) -> Shape:
    """Read the tables of the database, but for the one that holds its revision."""
    found = inspect(connection)
    return {
        name: TableShape(
            tuple(column["name"] for column in found.get_columns(name)),
            connection.execute(select(func.count()).select_from(table(name))).scalar_one(),
        )
        for name in sorted(found.get_table_names())
        if name != "alembic_version"
    }


def describe_changes(before: Shape, after: Shape) -> Iterator[str]:
    """Say what is in one and not in the other, table by table; rows that a table lost among it."""
    for name in sorted(before.keys() | after.keys()):
        match before.get(name), after.get(name):
            case None, TableShape():
                yield f"makes table {name}"
            case TableShape(rows=rows), None:
                yield f"drops table {name} with {format_count(rows, 'row')}"
            case TableShape() as old, TableShape() as new:
                yield from _describe_table(name, old, new)


def _describe_table(name: str, old: TableShape, new: TableShape) -> Iterator[str]:
    added = [column for column in new.columns if column not in old.columns]
    dropped = [column for column in old.columns if column not in new.columns]
    if added:
        yield f"adds {format_list(added)} to {name}"
    if dropped:
        yield f"drops {format_list(dropped)} of {name}"
    if old.rows != new.rows:
        yield f"leaves {format_count(new.rows, 'row')} of {old.rows:,} in {name}"
