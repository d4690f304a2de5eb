"""Copies a whole state into an empty database, SQLite or PostgreSQL: all of it, or nothing.

No service may run on either. What is wrong is told before anything is written, everything at once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Table, func, inspect, select, text
from sqlalchemy.exc import DataError, IntegrityError

from reelport import killpoints
from reelport.errors import ReelportError, StorageError, UsageError
from reelport.facts.layout import check_existing
from reelport.server import credentials
from reelport.server.database_address import describe_place, parse_address
from reelport.server.events import list_subscribers
from reelport.server.settings import Settings
from reelport.server.state.database import opened, reading, upgrade_within, writing
from reelport.server.state.revisions import REVISION, describe_newer_revision, read_revision
from reelport.server.state.secret_fingerprint import read_fingerprint
from reelport.server.state.state_record import describe_missing, find_traces, record_state
from reelport.server.state.tables import METADATA
from reelport.storage.durable import private
from reelport.wording import format_count

_BATCH = 1000
_VERSIONS = "alembic_version"
_SESSIONS = text("""
SELECT pid, application_name
FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
ORDER BY pid
""")
_LIST_ANEW = text("SELECT pg_stat_clear_snapshot()")  # a transaction sees the sessions of its first look
_HANGING_UP, _LOOK_SECONDS = 2.0, 0.05
"""Seconds that a session may still be listed after its process has ended, and between two looks for it."""
_LAST_NUMBER = text("SELECT pg_sequence_last_value(pg_get_serial_sequence(:table, :column)::regclass)")


@dataclass(frozen=True, slots=True)
class CopiedState:
    """What was copied from which database to which: the rows of each table."""

    source: str
    target: str
    rows: Mapping[str, int]


def copy_state(source: Settings, target: Settings) -> CopiedState:
    """Copy the state that one setting names to the empty one of another, in one transaction.

    UsageError lists every reason why that can't be. Nothing of the source changes. A data directory that the state came
    back to is recorded as its place.
    """
    if wrong := list(_find_problems(source, target)):
        raise UsageError("\n".join(wrong))
    with (
        private(),
        opened(source, is_unhurried=True) as origin,
        opened(target, is_unhurried=True) as goal,
        writing(origin) as read,
    ):
        if source.database_url:  # SQLite's transaction lets nobody write by itself
            read.execute(text(f"LOCK TABLE {', '.join(METADATA.tables)} IN EXCLUSIVE MODE NOWAIT"))
        with writing(goal) as write:
            for connection in (read, write):
                if connection.dialect.name == "postgresql":  # it does nothing while the other database works
                    connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
            upgrade_within(write)
            if held := _describe_rows(write):
                raise UsageError(f"{describe_state(target)} isn't empty any more: {held}.")
            rows = {table.name: _copy_rows(read, write, table) for table in METADATA.sorted_tables}
            for table in METADATA.sorted_tables:
                _continue_numbers(read, write, table)
        if not target.database_url:
            record_state(target, is_new=True)
        return CopiedState(describe_state(source), describe_state(target), rows)


def describe_state(settings: Settings) -> str:
    """Name the database of a state for people, without a password."""
    if settings.database_url:
        return f"PostgreSQL {describe_place(parse_address(settings.database_url))}"
    return str(settings.state_file)


def _find_problems(source: Settings, target: Settings) -> Iterator[str]:
    if (missing := _describe_no_directory(source)) is not None:
        yield missing
    else:
        yield from _find_source_problems(source, target)
    if (missing := _describe_no_directory(target)) is not None:
        yield missing
    else:
        yield from _find_target_problems(target)


def _describe_no_directory(settings: Settings) -> str | None:
    if settings.database_url:
        return None
    try:
        check_existing(settings.data)
    except UsageError:
        return f"{settings.data} is no data directory: name one, or the address of a database (postgresql://…)."
    except ReelportError as error:
        return str(error)
    return None


def _find_source_problems(source: Settings, target: Settings) -> Iterator[str]:
    place = describe_state(source)
    if not source.database_url and not source.state_file.exists():
        yield f"{place} isn't there."
        return
    if (missing := describe_missing(source, find_traces(source))) is not None:
        yield missing
        return
    with opened(source, is_unhurried=True) as db, reading(db) as connection:
        found = read_revision(connection)
        if found != REVISION:
            yield _describe_revision(place, found, "bring it there by `reelport upgrade` first")
            return
        yield from _find_processes(source, connection)
        fingerprint = read_fingerprint(connection)
    if fingerprint is not None:
        yield from dict.fromkeys(filter(None, (_describe_other_secret(each, fingerprint) for each in (source, target))))


def _find_target_problems(target: Settings) -> Iterator[str]:
    if not target.database_url and not target.state_file.exists():
        return
    place = describe_state(target)
    with opened(target, is_unhurried=True) as db, reading(db) as connection:
        tables = set(inspect(connection).get_table_names())
        found = read_revision(connection)
        if not tables:
            return
        if strange := sorted(tables - set(METADATA.tables) - {_VERSIONS}):
            yield f"{place} isn't empty: it holds the table {strange[0]}. Name an empty database."
        elif found != REVISION:
            yield _describe_revision(place, found, "name an empty database")
        elif held := _describe_rows(connection):
            yield f"{place} isn't empty: {held}. Name an empty database."


def _describe_revision(place: str, found: str | None, advice: str) -> str:
    if found is None:
        return f"{place} holds no state."
    return describe_newer_revision(found) or f"{place} is at revision {found}, and not at {REVISION}: {advice}."


def _describe_rows(connection: Connection) -> str:
    counts = {table.name: _count(connection, table) for table in METADATA.sorted_tables}
    return ", ".join(f"{name} holds {format_count(count, 'row')}" for name, count in counts.items() if count)


def _find_processes(settings: Settings, connection: Connection) -> Iterator[str]:
    """Say which processes use a state: by PostgreSQL's sessions, or the pipes for events."""
    if settings.database_url:
        found = [f"{each.application_name or 'a session'} ({each.pid})" for each in _list_sessions(connection)]
    else:
        found = [f"process {pid}" for pid in list_subscribers(settings.workers_root)]
    if found:
        yield f"{describe_state(settings)} is in use: stop {', '.join(found)} first."


def _list_sessions(connection: Connection) -> Sequence[Row[Any]]:
    until = time.monotonic() + _HANGING_UP
    while (found := connection.execute(_SESSIONS).all()) and time.monotonic() < until:
        time.sleep(_LOOK_SECONDS)
        connection.execute(_LIST_ANEW)
    return found


def _describe_other_secret(settings: Settings, fingerprint: str) -> str | None:
    """Describe a secret that isn't the keys' own; None when it is, or isn't known."""
    # A PostgreSQL has no data directory of its own.
    has_own = not settings.database_url and (settings.data / credentials.SECRET_FILE).exists()
    is_known = has_own or settings.secret is not None
    if not is_known or credentials.load_service_secret(settings).fingerprint == fingerprint:
        return None
    where = "REELPORT_SECRET" if settings.secret else settings.data / credentials.SECRET_FILE
    return f"The keys were made under another secret than {where}, with which they would all be refused: bring theirs."


def _copy_rows(read: Connection, write: Connection, table: Table) -> int:
    found = read.execute(select(table).order_by(*table.primary_key), execution_options={"yield_per": _BATCH})
    try:
        for rows in found.mappings().partitions(_BATCH):
            write.execute(table.insert(), [dict(row) for row in rows])
    except (DataError, IntegrityError) as error:
        raise StorageError(f"{table.name} can't be copied: {str(error.orig).splitlines()[0]}.") from error
    copied = _count(write, table)
    if copied != _count(read, table):
        raise StorageError(f"{table.name} came over with {format_count(copied, 'row')}: nothing was copied.")
    killpoints.reach("copy", table.name)
    return copied


def _count(connection: Connection, table: Table) -> int:
    count: int = connection.execute(select(func.count()).select_from(table)).scalar_one()
    return count


def _continue_numbers(read: Connection, write: Connection, table: Table) -> None:
    """Let PostgreSQL give to new rows the numbers after the last that the source gave."""
    column = table.autoincrement_column
    if column is None or write.dialect.name != "postgresql":
        return
    last = read.execute(select(func.coalesce(func.max(column), 0))).scalar_one()
    if read.dialect.name == "postgresql":
        given = read.execute(_LAST_NUMBER, {"table": table.name, "column": column.name})
        last = max(last, given.scalar_one() or 0)
    set_to = {"table": table.name, "column": column.name, "last": max(last, 1), "used": last > 0}
    write.execute(text("SELECT setval(pg_get_serial_sequence(:table, :column), :last, :used)"), set_to)
