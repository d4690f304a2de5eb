"""A window as one Arrow table for whoever replaces days by a key: its rows, and a tombstone for each day without."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from reelport.errors import StorageError
from reelport.sync.columns import Field, day_of, quoted
from reelport.sync.contract import agree, time_of
from reelport.sync.copies import replaced, stamped
from reelport.sync.copy_state import State
from reelport.sync.days import NONE, Days, month_last
from reelport.sync.spec import Spec
from reelport.sync.staging import Delivery, engine, stage

if TYPE_CHECKING:
    import pyarrow as pa

DAY = "_day"
"""The day of a row (of a month, its first): what is deleted by."""

DELETED = "_deleted"
"""Whether a row is a tombstone: it deletes its day, and isn't kept."""

KEY = ("_spec", DAY)
"""What rows are replaced by."""

_TOMBSTONE = f"INSERT INTO batch BY NAME SELECT ? AS _spec, CAST(? AS DATE) AS {DAY}, true AS {DELETED}"


@dataclass(frozen=True, slots=True)
class Held:
    """What a copy elsewhere holds, as far as we were told: its state, its columns, the days that have rows.

    `time` is the column that told the days of these rows.
    """

    state: State
    fields: tuple[Field, ...] = ()
    filled: Days = NONE
    time: str = ""

    def trusted(self, spec: Spec) -> State:
        """The state as far as the days that have rows let it be trusted."""
        return self.state.trusted(spec, self.filled.spans[-1][1] if self.filled.spans else None)

    def stale(self, spec: Spec, delivery: Delivery) -> Days:
        """Days whose rows go with this delivery, though it isn't theirs.

        Those that another column placed in time would say the same once more; those of another meaning or service
        that no window replaces would stay for ever.
        """
        if self.time and self.time != spec.time:
            return self.filled
        if self.state.fits(spec, delivery.service):
            return NONE
        return self.filled - Days.between(*replaced(spec, delivery))

    def to_text(self) -> str:
        """One line of JSON."""
        columns = {field.name: field.type for field in self.fields}
        filled = self.filled.to_json()
        return json.dumps({"state": self.state.to_json(), "columns": columns, "filled": filled, "time": self.time})

    @classmethod
    def from_text(cls, text: str | None) -> Self:
        """That of `to_text`; the empty one for None. StorageError for one that is damaged."""
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
    """A window's table, how many of its rows are rows, on which days, its columns, and what is to be said of them."""

    table: pa.Table
    rows: int
    filled: Days
    fields: tuple[Field, ...]
    notes: tuple[str, ...]


def batch(spec: Spec, delivery: Delivery, held: Held, spill: Path) -> Batch:
    """The table of a delivery for a copy that holds this. Raises SchemaDrift by the spec's contract."""
    days = Days.between(delivery.window.start, delivery.window.end) | held.stale(spec, delivery)
    with engine(spill) as con:
        staged = stage(con, delivery.file)
        agreement = agree(spec, held.fields, staged, delivery.window, widens=False)
        time = time_of(spec, agreement.fields)
        placed = day_of(quoted(time.name), time.type)
        rows = stamped(spec, delivery, agreement)
        con.execute(f"CREATE TEMP TABLE batch AS SELECT *, {placed} AS {DAY}, false AS {DELETED} FROM ({rows})")  # noqa: S608 - quoted
        found = con.execute(f"SELECT {DAY}, count(*) FROM batch GROUP BY 1").fetchall()  # noqa: S608 - our own names
        firsts = {first for first, _ in found}
        if empty := [[spec.name, day] for day in days if day not in firsts]:
            con.executemany(_TOMBSTONE, empty)
        table = _keyed(con.sql("FROM batch").to_arrow_table())
    filled = Days.of((first, month_last(first) if spec.monthly else first) for first, _ in found)
    return Batch(table, sum(count for _, count in found), filled, agreement.fields, agreement.notes)


def _keyed(table: pa.Table) -> pa.Table:
    """The table, which says that no key is missing."""
    for name in KEY:
        at = table.schema.get_field_index(name)
        table = table.cast(table.schema.set(at, table.schema.field(at).with_nullable(False)))
    return table
