"""DuckDB file as destination: a table for each spec, and one of states, changed at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from reelport.errors import StorageError, UsageError
from reelport.killpoints import reach
from reelport.sql_quoting import quote_name, quote_text
from reelport.sync.contract import (
    Agreement,
    View,
    agree,
    in_window_sql,
    is_stale_sql,
    refuse_emptied,
    select_stamped,
    time_field,
)
from reelport.sync.events import Loaded
from reelport.sync.spec import Days, Place, Spec
from reelport.sync.staging import OWN, Delivery, Field, count_rows, day_sql, load_stage, open_duckdb
from reelport.sync.verified_days import State

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

STORAGE_VERSION = "v1.2.0"  # storage format of a new file: DuckDB 1.2 and newer can open it
STATES = "_reelport_states"
PATIENCE = 10.0  # seconds to wait while another process has the file open
_KEEP_TRYING = 0.25
_NO_DATABASE = "not a valid DuckDB database file"

# DuckDB's error texts for a file that another process, or another connection of this one, has open.
_LOCKED = ("Could not set lock", "already attached")


class DuckDBFile:
    """A DuckDB file as a destination. The file is open only while a window is replaced or read."""

    def __init__(self, place: Place, patience: float = PATIENCE) -> None:
        self._place = place
        self._patience = patience

    def state(self, spec: Spec) -> State:
        """Return the state of a spec's copy; the empty state when there is none."""
        if not self._place.path.exists():
            return State()
        with self._open(read_only=True) as con:
            state = _read_state(con, spec)
            if not state.has_meaning_of(spec):
                return state
            time = time_field(spec, _read_fields(con, spec))
            last = f"SELECT max({day_sql(time)}) FROM {_table_name(spec)}"  # noqa: S608 - quoted
            return state.trust(spec, (con.execute(last).fetchone() or (None,))[0])

    @contextmanager
    def view(self, spec: Spec) -> Iterator[View | None]:
        """Open the copy of a spec for reading; gives None while there is none."""
        if not self._place.path.exists():
            yield None
            return
        with self._open(read_only=True) as con:
            fields = _read_fields(con, spec)
            yield View(con, _table_name(spec), fields) if fields else None

    def replace(self, spec: Spec, delivery: Delivery, *, allow_empty: bool = False) -> Loaded:
        """Replace the delivery's window in one transaction."""
        with self._open(read_only=False) as con:
            staged = load_stage(con, delivery.file)
            kept = _read_fields(con, spec)
            agreement = agree(spec, kept, staged, delivery.window)
            rows = staged.count(agreement.rows)
            state = _read_state(con, spec)
            with _transaction(con):
                _apply_columns(con, spec, kept, agreement)
                condition = in_window_sql(spec, agreement.fields, delivery)
                before = count_rows(con, _table_name(spec), condition)
                refuse_emptied(spec, delivery, before, rows, allow_empty=allow_empty)
                besides = is_stale_sql(spec, agreement.fields, delivery, state)
                con.execute(f"DELETE FROM {_table_name(spec)} WHERE {condition} OR {besides}")  # noqa: S608 - names are quoted
                reach("sync-deleted")
                con.execute(f"INSERT INTO {_table_name(spec)} BY NAME {select_stamped(spec, delivery, agreement)}")
                reach("sync-inserted")
                _write_state(con, spec, state.after(spec, delivery))
                reach("sync-stated")
            reach("sync-committed")
        return Loaded(spec.name, delivery.window, before, rows, delivery.token, agreement.notes)

    def unverify(self, spec: Spec, days: Days | None = None) -> None:
        """Mark these days of a spec, or all of them, as not verified."""
        if not self._place.path.exists():
            return
        with self._open(read_only=False) as con:
            state = _read_state(con, spec)
            if state.without_verified(days) != state:
                with _transaction(con):
                    _write_state(con, spec, state.without_verified(days))

    @contextmanager
    def _open(self, *, read_only: bool) -> Iterator[DuckDBPyConnection]:
        """Open a connection with the file attached as `copy`. Creates the file unless `read_only`."""
        with open_duckdb(self._place.work_folder / "spill") as con:
            _attach(con, self._place, self._patience, read_only=read_only)
            yield con
            # Detaching writes the log (WAL) into the file: an older DuckDB might not read a log.
            con.execute("DETACH copy")


def _attach(con: DuckDBPyConnection, place: Place, patience: float, *, read_only: bool) -> None:
    import duckdb  # noqa: PLC0415 - heavy; it is loaded by now

    # An existing file keeps its storage version.
    writing = "" if place.path.exists() else f"(STORAGE_VERSION '{STORAGE_VERSION}')"
    options = "(READ_ONLY)" if read_only else writing
    if place.path.is_dir():
        raise StorageError(f"The destination {place} is a folder, and ends as a DuckDB file: name another one.")
    until = time.monotonic() + patience
    while True:
        try:
            con.execute(f"ATTACH {quote_text(str(place.path))} AS copy {options}")
        except duckdb.Error as error:
            if _NO_DATABASE in str(error):
                raise StorageError(
                    f"The destination {place} is there and is no DuckDB file: move it away, or name another one."
                ) from None
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
    except BaseException:  # whatever is raised, nothing of the window may stay
        con.execute("ROLLBACK")
        raise
    con.execute("COMMIT")


def _table_name(spec: Spec) -> str:
    return f"copy.main.{quote_name(spec.name)}"


def _read_fields(con: DuckDBPyConnection, spec: Spec) -> tuple[Field, ...]:
    """Read the report's columns of the table; UsageError for one that no sync has made."""
    rows = con.execute(
        "SELECT column_name, data_type FROM duckdb_columns() "
        "WHERE database_name = 'copy' AND schema_name = 'main' AND lower(table_name) = ? ORDER BY column_index",
        [spec.name],
    ).fetchall()
    if rows and not OWN.keys() <= {name for name, _ in rows}:
        raise UsageError(f"There is a table {spec.name} already that no sync has made: give the report another name.")
    return tuple(Field(name, kind) for name, kind in rows if name not in OWN)


def _apply_columns(con: DuckDBPyConnection, spec: Spec, kept: tuple[Field, ...], agreement: Agreement) -> None:
    if not kept:
        columns = [Field(name, kind) for name, kind in OWN.items()] + list(agreement.fields)
        listed = ", ".join(f"{quote_name(column.name)} {column.type}" for column in columns)
        con.execute(f"CREATE TABLE {_table_name(spec)} ({listed})")
    before = {field.name: field.type for field in kept or agreement.fields}
    for field in agreement.fields:
        if field.name not in before:
            con.execute(f"ALTER TABLE {_table_name(spec)} ADD COLUMN {quote_name(field.name)} {field.type}")
        elif before[field.name] != field.type:
            con.execute(f"ALTER TABLE {_table_name(spec)} ALTER COLUMN {quote_name(field.name)} TYPE {field.type}")


def _read_state(con: DuckDBPyConnection, spec: Spec) -> State:
    """Read the state of a spec; the empty one where its table was dropped."""
    if not _read_fields(con, spec):
        return State()
    table = con.execute(
        "SELECT 1 FROM duckdb_tables() WHERE database_name = 'copy' AND schema_name = 'main' AND table_name = ?",
        [STATES],
    ).fetchone()
    if table is None:
        return State()
    found = con.execute(f"SELECT state FROM copy.main.{STATES} WHERE spec = ?", [spec.name]).fetchone()  # noqa: S608 - ours
    return State.from_json(found[0]) if found else State()


def _write_state(con: DuckDBPyConnection, spec: Spec, state: State) -> None:
    con.execute(f"CREATE TABLE IF NOT EXISTS copy.main.{STATES} (spec VARCHAR, state VARCHAR, changed_at TIMESTAMPTZ)")
    con.execute(f"DELETE FROM copy.main.{STATES} WHERE spec = ?", [spec.name])  # noqa: S608 - ours
    con.execute(f"INSERT INTO copy.main.{STATES} VALUES (?, ?, now())", [spec.name, state.to_json()])  # noqa: S608 - ours
