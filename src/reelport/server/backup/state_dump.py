"""Dumps the state into one file while it is in use: SQLite's online backup, or pg_dump."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path

from sqlalchemy import inspect

from reelport.errors import DiskFull, StorageError, UsageError
from reelport.server.database_address import describe_place, list_parameters, parse_address
from reelport.server.settings import Settings
from reelport.server.state.database import opened, reading
from reelport.server.state.sqlite_engine import is_full
from reelport.server.state.write_ahead import is_immutable
from reelport.storage.durable import FULL_DISK

SQLITE, POSTGRESQL = "sqlite", "postgresql"


def name_database(settings: Settings) -> str:
    """Name the kind of database that these settings use."""
    return POSTGRESQL if settings.database_url else SQLITE


def dump_state(settings: Settings, to: Path) -> None:
    """Write the state, as it is at one moment, to a new file."""
    if settings.database_url:
        _run_tool(settings, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", "--file", str(to))
        return
    try:
        # Read through a connection: a copy of the file could hold half of a commit.
        mode = "immutable=1" if is_immutable(settings.state_file) else "mode=ro"
        address = f"{settings.state_file.absolute().as_uri()}?{mode}"
        with closing(sqlite3.connect(address, uri=True)) as source, closing(sqlite3.connect(to)) as copy:
            source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:  # the state is only read
            raise DiskFull(f"{to}: {FULL_DISK}") from error
        reason = FULL_DISK if is_full(error) else error
        raise StorageError(f"{settings.state_file} can't be backed up: {reason}.") from error


def load_state(settings: Settings, dump: Path) -> None:
    """Load a dump into an empty PostgreSQL database, all of it or nothing."""
    _run_tool(
        settings, "pg_restore", "--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges", str(dump)
    )


def list_tables(settings: Settings) -> tuple[str, ...]:
    """List the tables of the database; StorageError when it can't be reached."""
    with opened(settings) as db, reading(db) as connection:
        return tuple(inspect(connection).get_table_names())


def describe_address(settings: Settings) -> str:
    """Describe where the state is, without a password."""
    if not settings.database_url:
        return SQLITE
    return describe_place(parse_address(settings.database_url))


def find_tool_problem(database: str) -> str | None:
    """Say which program of PostgreSQL is missing, if one is."""
    missing = [name for name in ("pg_dump", "pg_restore") if database == POSTGRESQL and find_tool(name) is None]
    return f"{' and '.join(missing)} is not installed: install PostgreSQL's client programs." if missing else None


def check_state_file(dump: Path) -> str | None:
    """Say what is wrong with a dump of SQLite."""
    with closing(sqlite3.connect(f"{dump.absolute().as_uri()}?mode=ro", uri=True)) as state:
        try:
            found: str = state.execute("PRAGMA integrity_check").fetchone()[0]
        except sqlite3.Error as error:
            found = str(error)
    return None if found == "ok" else f"The state is damaged: {found}."


def _run_tool(settings: Settings, name: str, *words: str) -> None:
    tool = find_tool(name)
    if tool is None:
        raise UsageError(str(find_tool_problem(POSTGRESQL)))
    found = dict(list_parameters(parse_address(settings.database_url)))
    # Every user of the machine can read a command line; the environment and a file without a name, this one alone.
    # Both are gone with the processes, however they end. The file can't hold every password: libpq takes the spaces
    # from the ends of its lines, and refuses a long one.
    password = {"PGPASSWORD": found.pop("password")} if "password" in found else {}
    with tempfile.TemporaryFile("w", encoding="utf-8") as service:
        service.writelines(["[reelport]\n", *(f"{key}={value}\n" for key, value in found.items())])
        service.flush()
        service.seek(0)
        done = subprocess.run(
            [tool, "--dbname", "service=reelport", *words],
            env=os.environ | password | {"PGSERVICEFILE": f"/dev/fd/{service.fileno()}"},
            pass_fds=(service.fileno(),),
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise StorageError(f"{name} failed: {done.stderr.strip()}")


def find_tool(name: str) -> str | None:
    """Find a program of PostgreSQL where Debian puts the newest, else on the path."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(debian[-1]) if debian else shutil.which(name)
