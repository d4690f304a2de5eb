"""Plans: SQL that gives the rows of a report's CSV, at once or in pieces."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class StoredObjects:
    """One pinned object table: the relation that reads all of its files, and how many rows."""

    sql: str
    rows: int


@dataclass(frozen=True, slots=True)
class Plan:
    """One SELECT that gives the rows of a CSV in order, and the CSV's header.

    `arrow` has the Arrow tables or streams that the SQL names. `objects` are object tables whose relation is a part
    of the SQL, letter by letter: who has their rows at hand may put another one in its place.
    """

    sql: str
    columns: tuple[str, ...]
    arrow: Mapping[str, pa.Table | pa.RecordBatchReader] = field(default_factory=dict)
    objects: tuple[StoredObjects, ...] = ()


Pieces = Generator[Plan, int | None, None]
"""Yields plans in the order of their rows. Send it the number of rows that the previous plan gave, None at first."""


def single_piece(plan: Plan) -> Pieces:
    """Yield the one plan of a report that isn't split."""
    yield plan
