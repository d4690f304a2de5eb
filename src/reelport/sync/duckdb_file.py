"""Copies in a DuckDB file: a table a spec, and a table of states, changed together in one transaction."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING

from reelport.errors import StorageError, UsageError
from reelport.killpoints import reach
from reelport.sync.columns import OWN, Field, day_of, literal, quoted
from reelport.sync.contract import Agreement, agree, time_of
from reelport.sync.copies import Replaced, View, guard, stale, stamped, window_of
from reelport.sync.copy_state import State
from reelport.sync.days import Days
from reelport.sync.spec import Place, Spec
from reelport.sync.staging import Delivery, engine, stage

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

STORAGE_VERSION = "v1.2.0"
"""How a new file is written: whoever has DuckDB 1.2 or newer, 1.4 above all, can open it."""

STATES = "_reelport_states"

PATIENCE = 10.0
"""Seconds to wait for whoever else has the file open."""

_KEEP_TRYING = 0.25
_LOCKED = ("Could not set lock", "already attached")
"""What DuckDB says of a file that another process, or another connection of this one, has open."""


class DuckFile:
    """A DuckDB file as a destination. It is open only while a window is replaced or looked at."""

    def __init__(self, place: Place, patience: float = PATIENCE) -> None:
        self._place = place
        self._patience = patience

    def state(self, spec: Spec) -> State:
        """What it holds of a spec; the empty state when nothing."""
        if not self._place.path.exists():
            return State()
        with self._opened(read_only=True) as con:
            state = _state(con, spec)
            return state.trusted(spec, _last_row(con, spec)) if state.serves(spec) else state

    @contextmanager
    def view(self, spec: Spec) -> Iterator[View | None]:
        """The copy of a spec, for reading; None while there is none."""
        if not self._place.path.exists():
            yield None
            return
        with self._opened(read_only=True) as con:
            fields = _fields(con, spec)
            yield View(con, _table(spec), fields) if fields else None

    def replace(self, spec: Spec, delivery: Delivery, *, allow_empty: bool = False) -> Replaced:
        """Put a delivery in the place of its window, in one transaction."""
        with self._opened(read_only=False) as con:
            staged = stage(con, delivery.file)
            kept = _fields(con, spec)
            agreement = agree(spec, kept, staged, delivery.window)
            rows = staged.count(agreement.rows)
            state = _state(con, spec)
            with _transaction(con):
                _shape(con, spec, kept, agreement)
                condition = window_of(spec, agreement.fields, delivery)
                before = _count(con, spec, condition)
                guard(spec, delivery, before, rows, allow_empty=allow_empty)
                besides = stale(spec, agreement.fields, delivery, state)
                con.execute(f"DELETE FROM {_table(spec)} WHERE {condition} OR {besides}")  # noqa: S608 - names are quoted
                reach("sync-deleted")
                con.execute(f"INSERT INTO {_table(spec)} BY NAME {stamped(spec, delivery, agreement)}")
                reach("sync-inserted")
                _keep(con, spec, state.after(spec, delivery))
                reach("sync-stated")
            reach("sync-committed")
        return Replaced(before, rows, agreement.notes)

    def doubt(self, spec: Spec, days: Days | None = None) -> None:
        """Take none of these days, or no day, of a spec as verified any more."""
        if not self._place.path.exists():
            return
        with self._opened(read_only=False) as con:
            state = _state(con, spec)
            if state.doubted(days) != state:
                with _transaction(con):
                    _keep(con, spec, state.doubted(days))

    @contextmanager
    def _opened(self, *, read_only: bool) -> Iterator[DuckDBPyConnection]:
        """A connection with the file attached as `copy`; made if need be, unless it is only read."""
        with engine(self._place.workshop / "spill") as con:
            _attach(con, self._place, self._patience, read_only=read_only)
            yield con
            # Written into the file itself, nothing is left to a log that an older DuckDB may not read.
            con.execute("DETACH copy")


def _attach(con: DuckDBPyConnection, place: Place, patience: float, *, read_only: bool) -> None:
    import duckdb  # noqa: PLC0415 - heavy; it is loaded by now

    # The version of a file that is there already stays as it is.
    writing = "" if place.path.exists() else f"(STORAGE_VERSION '{STORAGE_VERSION}')"
    options = "(READ_ONLY)" if read_only else writing
    until = time.monotonic() + patience
    while True:
        try:
            con.execute(f"ATTACH {literal(str(place.path))} AS copy {options}")
        except duckdb.Error as error:
            if not any(words in str(error) for words in _LOCKED):
                raise
            if time.monotonic() > until:
                raise StorageError(f"{place} is open elsewhere: close it there, and run this again.") from None
        else:
            return
        time.sleep(_KEEP_TRYING)


@contextmanager
def _transaction(con: DuckDBPyConnection) -> Iterator[None]:
    con.execute("BEGIN TRANSACTION")
    try:
        yield
    except BaseException:  # whatever it is, nothing of the window may stay
        con.execute("ROLLBACK")
        raise
    con.execute("COMMIT")


def _table(spec: Spec) -> str:
    return f"copy.main.{quoted(spec.name)}"


def _fields(con: DuckDBPyConnection, spec: Spec) -> tuple[Field, ...]:
    """The report's columns of the table, in its order; none while there is no table.

    Raises UsageError for a table, or a view, that is somebody else's.
    """
    rows = con.execute(
        "SELECT column_name, data_type FROM duckdb_columns() "
        "WHERE database_name = 'copy' AND schema_name = 'main' AND lower(table_name) = ? ORDER BY column_index",
        [spec.name],
    ).fetchall()
    if rows and not OWN.keys() <= {name for name, _ in rows}:
        raise UsageError(f"There is a table {spec.name} already that no sync has made: give the report another name.")
    return tuple(Field(name, kind) for name, kind in rows if name not in OWN)


def _shape(con: DuckDBPyConnection, spec: Spec, kept: tuple[Field, ...], agreement: Agreement) -> None:
    """Give the table the agreed columns."""
    if not kept:
        columns = [Field(name, kind) for name, kind in OWN.items()] + list(agreement.fields)
        listed = ", ".join(f"{quoted(column.name)} {column.type}" for column in columns)
        con.execute(f"CREATE TABLE {_table(spec)} ({listed})")
    before = {field.name: field.type for field in kept or agreement.fields}
    for field in agreement.fields:
        if field.name not in before:
            con.execute(f"ALTER TABLE {_table(spec)} ADD COLUMN {quoted(field.name)} {field.type}")
        elif before[field.name] != field.type:
            con.execute(f"ALTER TABLE {_table(spec)} ALTER COLUMN {quoted(field.name)} TYPE {field.type}")


def _count(con: DuckDBPyConnection, spec: Spec, condition: str) -> int:
    found = con.execute(f"SELECT count(*) FROM {_table(spec)} WHERE {condition}").fetchone()  # noqa: S608 - quoted
    return int(found[0]) if found else 0


def _last_row(con: DuckDBPyConnection, spec: Spec) -> date | None:
    """The last day with rows (of months, the first of the last one); None when there is no row."""
    told = time_of(spec, _fields(con, spec))
    found = con.execute(f"SELECT max({day_of(quoted(told.name), told.type)}) FROM {_table(spec)}").fetchone()  # noqa: S608 - quoted
    return found[0] if found else None


def _state(con: DuckDBPyConnection, spec: Spec) -> State:
    """What is held of a spec: nothing of a table that was dropped, whatever is noted."""
    if not _fields(con, spec):
        return State()
    there = con.execute(
        "SELECT 1 FROM duckdb_tables() WHERE database_name = 'copy' AND schema_name = 'main' AND table_name = ?",
        [STATES],
    ).fetchone()
    if there is None:
        return State()
    found = con.execute(f"SELECT state FROM copy.main.{STATES} WHERE spec = ?", [spec.name]).fetchone()  # noqa: S608 - ours
    return State.from_json(found[0]) if found else State()


def _keep(con: DuckDBPyConnection, spec: Spec, state: State) -> None:
    con.execute(f"CREATE TABLE IF NOT EXISTS copy.main.{STATES} (spec VARCHAR, state VARCHAR, changed_at TIMESTAMPTZ)")
    con.execute(f"DELETE FROM copy.main.{STATES} WHERE spec = ?", [spec.name])  # noqa: S608 - ours
    con.execute(f"INSERT INTO copy.main.{STATES} VALUES (?, ?, now())", [spec.name, state.to_json()])  # noqa: S608 - ours
