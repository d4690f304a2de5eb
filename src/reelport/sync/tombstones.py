"""A window as an Arrow table for dlt, which replaces days by key: rows and tombstones."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from reelport.errors import StorageError
from reelport.sql_quoting import quote_name
from reelport.sync.columns import Field, day_sql
from reelport.sync.contract import agree, time_field
from reelport.sync.copies import replaced_span, select_stamped
from reelport.sync.copy_state import State
from reelport.sync.days import NONE, Days, month_last
from reelport.sync.spec import Spec
from reelport.sync.staging import Delivery, load_stage, open_duckdb

if TYPE_CHECKING:
    import pyarrow as pa

DAY = "_day"
"""Name of the column with a row's day (for a month, its first): the merge key."""

DELETED = "_deleted"
"""Name of the column that marks a tombstone: it deletes its day, and isn't kept."""

KEY = ("_spec", DAY)
"""The merge key: a load replaces all rows with the same values."""

_TOMBSTONE = f"INSERT INTO batch BY NAME SELECT ? AS _spec, CAST(? AS DATE) AS {DAY}, true AS {DELETED}"


@dataclass(frozen=True, slots=True)
class HeldCopy:
    """What a dlt destination's copy holds, by dlt's state: state, columns, days with rows.

    `time` is the column that gave the days of these rows.
    """

    state: State
    fields: tuple[Field, ...] = ()
    filled: Days = NONE
    time: str = ""

    def trust(self, spec: Spec) -> State:
        """Return the state as far as the days with rows confirm it (see `State.trust`)."""
        return self.state.trust(spec, self.filled.spans[-1][1] if self.filled.spans else None)

    def stale_days(self, spec: Spec, delivery: Delivery) -> Days:
        """Return the days outside of the delivery whose rows must be deleted with it.

        Rows placed by another time column would be repeated; rows of another query or service that no window replaces
        would stay for ever.
        """
        if self.time and self.time != spec.time:
            return self.filled
        if self.state.is_current(spec, delivery.service):
            return NONE
        return self.filled - Days.between(*replaced_span(spec, delivery))

    def to_text(self) -> str:
        """Format as one line of JSON."""
        columns = {field.name: field.type for field in self.fields}
        filled = self.filled.to_json()
        return json.dumps({"state": self.state.to_json(), "columns": columns, "filled": filled, "time": self.time})

    @classmethod
    def from_text(cls, text: str | None) -> Self:
        """Read what `to_text` gave; the empty copy for None. StorageError if damaged."""
        if text is None:
            return cls(State())
        try:
            found = json.loads(text)
            fields = tuple(Field(name, kind) for name, kind in found["columns"].items())
            return cls(State.from_json(found["state"]), fields, Days.from_json(found["filled"]), str(found["time"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StorageError(f"The state of this copy can't be read ({error}): was it changed by hand?") from None


@dataclass(frozen=True, slots=True)
class Batch:
    """A window's table, the number and days of its real rows, its columns, and notes."""

    table: pa.Table
    rows: int
    filled: Days
    fields: tuple[Field, ...]
    notes: tuple[str, ...]


def build_batch(spec: Spec, delivery: Delivery, held: HeldCopy, spill: Path) -> Batch:
    """Build the table of a delivery for a copy. Raises SchemaDrift by the spec's contract."""
    days = delivery.days | held.stale_days(spec, delivery)
    with open_duckdb(spill) as con:
        staged = load_stage(con, delivery.file)
        agreement = agree(spec, held.fields, staged, delivery.window, widens=False)
        time = time_field(spec, agreement.fields)
        placed = day_sql(quote_name(time.name), time.type)
        rows = select_stamped(spec, delivery, agreement)
        con.execute(f"CREATE TEMP TABLE batch AS SELECT *, {placed} AS {DAY}, false AS {DELETED} FROM ({rows})")  # noqa: S608 - quoted
        found = con.execute(f"SELECT {DAY}, count(*) FROM batch GROUP BY 1").fetchall()  # noqa: S608 - our own names
        firsts = {first for first, _ in found}
        if empty := [[spec.name, day] for day in days if day not in firsts]:
            con.executemany(_TOMBSTONE, empty)
        table = _require_keys(con.sql("FROM batch").to_arrow_table())
    filled = Days.of((first, month_last(first) if spec.monthly else first) for first, _ in found)
    return Batch(table, sum(count for _, count in found), filled, agreement.fields, agreement.notes)


def _require_keys(table: pa.Table) -> pa.Table:
    """Mark the key columns of the table as not nullable."""
    for name in KEY:
        at = table.schema.get_field_index(name)
        table = table.cast(table.schema.set(at, table.schema.field(at).with_nullable(False)))
    return table
