"""Tries at a scratch place the restore of a backup, and the migrations of a state.

A state of PostgreSQL needs an empty database for that: a named one, or a server of its own.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path

from sqlalchemy import MetaData, text

from reelport.errors import StorageError, UsageError
from reelport.facts.loading.verification import verify
from reelport.server.backup.archive import Archive, Manifest
from reelport.server.backup.create import find_differences
from reelport.server.backup.restore import restore_backup
from reelport.server.backup.state_dump import (
    SQLITE,
    check_state_file,
    dump_state,
    find_tool,
    list_tables,
    load_state,
    name_database,
)
from reelport.server.settings import Settings
from reelport.server.state.database import opened, upgrade, writing
from reelport.storage.locked_folders import open_scratch_folder

_DATABASE_OWNER = "reelport"
_PREFIX = "reelport-verify-"
_UNPRIVILEGED = "postgres"
"""The user whom Debian's package makes; PostgreSQL refuses to run as root."""

_OPTIONS = ("listen_addresses=", "fsync=off", "full_page_writes=off", "jit=off", "max_connections=20")
"""Reached by its socket alone; what is lost with the machine was a copy."""

_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}
"""The server's: another user may read it, and this process has secrets in its own."""

_FUNCTIONS = text("SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = current_schema::regnamespace")
_PATIENCE_SECONDS = 300
_SET_DEATH_SIGNAL = 1


def find_faults(
    archive: Archive, manifest: Manifest, settings: Settings, scratch: Path | None, scratch_database: str | None = None
) -> list[str]:
    """List the faults of a backup; none when it was restored and gave the same reports.

    `scratch` is where it is restored to for the while; the system's folder for temporary files when None. A state of
    PostgreSQL goes into the empty database at the address `scratch_database`, or when None into a server of its own.
    """
    if faults := archive.list_faults(manifest):
        return faults
    if scratch is not None and not scratch.is_dir():
        raise UsageError(f"{scratch} is no folder: name one with as much room as the backup has bytes.")
    with open_scratch_folder(_PREFIX, scratch) as folder:
        place = replace(settings, data=folder / "data", database_url="", files_url="", facts_url="")
        with _lend_database(manifest.database, place, scratch, scratch_database) as address:
            restore_backup(archive, manifest, replace(place, database_url=address), check_secret=False)
        damage = None if address else check_state_file(place.state_file)
        return [
            *([] if damage is None else [damage]),
            *(f"{table.table}: {finding}" for table in verify(place.facts_root) for finding in table.findings),
            *find_differences(settings, place.facts_root, manifest.versions, manifest.probes, folder),
        ]


def try_upgrade(settings: Settings, scratch: Path | None, scratch_database: str | None = None) -> None:
    """Migrate a copy of the state at a scratch place; StorageError if it fails or is damaged."""
    with open_scratch_folder(_PREFIX, scratch) as folder:
        place = replace(settings, data=folder / "data", database_url="")
        place.data.mkdir()
        dump = folder / "dump" if settings.database_url else place.state_file
        dump_state(settings, dump)
        with _lend_database(name_database(settings), place, scratch, scratch_database) as address:
            copy = replace(place, database_url=address)
            if address:
                load_state(copy, dump)
            with opened(copy) as db:
                upgrade(db)
        if not address and (damage := check_state_file(place.state_file)):
            raise StorageError(damage)


def _lend_database(
    database: str, place: Settings, scratch: Path | None, scratch_database: str | None
) -> AbstractContextManager[str]:
    """Lend an empty database of a kind for the block: its address, empty for SQLite."""
    if database == SQLITE:
        if scratch_database is not None:
            raise UsageError("--scratch-database: the state is SQLite's, and needs none.")
        return nullcontext("")
    return _run_own_server(scratch) if scratch_database is None else _lend_named_database(place, scratch_database)


@contextmanager
def _run_own_server(scratch: Path | None) -> Iterator[str]:
    """Run an empty PostgreSQL below the scratch folder within the block; give its address.

    It listens on a socket that its user alone reaches, and dies with this process. Where this process is root's, it
    lies in the system's folder for temporary files, as its own user need not reach the scratch folder. UsageError where
    its programs are missing, StorageError where it doesn't start.
    """
    initdb = find_tool("initdb")
    if initdb is None:
        raise UsageError(
            "The state was in PostgreSQL, and there is none here to restore it into: install PostgreSQL's server "
            "(Debian: postgresql), or name an empty database (--scratch-database)."
        )
    user = _find_user()
    for name in [name for name in os.environ if name.startswith("PG")]:  # it would lead to another server
        del os.environ[name]
    where, uid, gid = (scratch, None, None) if user is None else (None, user.pw_uid, user.pw_gid)
    # A socket's path has 107 letters at most.
    with open_scratch_folder(_PREFIX, where, uid) as data, open_scratch_folder(_PREFIX, None, uid) as socket:
        base = ["-D", str(data / "cluster")]
        made = subprocess.run(
            [initdb, *base, "-U", _DATABASE_OWNER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
            user=uid,
            group=gid,
            env=_ENVIRONMENT,
            cwd=data,
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            raise StorageError(f"No PostgreSQL could be made in {data}: {made.stderr.strip()}")
        with (data / "log").open("wb") as log:
            server = subprocess.Popen(
                [Path(initdb).with_name("postgres"), *base, "-k", socket, *(f"-c{option}" for option in _OPTIONS)],
                stdout=log,
                stderr=log,
                user=uid,
                group=gid,
                env=_ENVIRONMENT,
                # The kernel ends the server when this process ends, however it does; this command has one thread.
                preexec_fn=lambda: ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, int(signal.SIGQUIT)),  # noqa: PLW1509
            )
        try:
            _wait_until_ready(server, socket, data / "log")
            yield f"postgresql://{_DATABASE_OWNER}@/postgres?host={socket}"
        finally:
            server.send_signal(signal.SIGQUIT)  # at once: nothing of it is kept
            server.wait()


def _find_user() -> pwd.struct_passwd | None:
    """Find the user whom the server runs as; None for the one of this process."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(_UNPRIVILEGED)
    except KeyError:
        raise UsageError(
            f"PostgreSQL doesn't run as root, and there is no user {_UNPRIVILEGED!r}: run this as another user, or "
            "name an empty database (--scratch-database)."
        ) from None


def _wait_until_ready(server: subprocess.Popen[bytes], socket: Path, log: Path) -> None:
    import psycopg  # noqa: PLC0415 - an extra

    for _ in range(_PATIENCE_SECONDS * 10):
        with suppress(psycopg.OperationalError):
            psycopg.connect(host=str(socket), user=_DATABASE_OWNER, dbname="postgres").close()
            return
        with suppress(subprocess.TimeoutExpired):
            server.wait(0.1)
            break
    raise StorageError(f"The PostgreSQL to restore into did not start: {log.read_text(errors='replace').strip()}")


@contextmanager
def _lend_named_database(settings: Settings, address: str) -> Iterator[str]:
    """Lend an empty database, and empty it again; UsageError when it has tables."""
    if not address:
        raise UsageError("--scratch-database is empty: name a database.")
    place = replace(settings, database_url=address)
    if list_tables(place):
        raise UsageError("The database of --scratch-database isn't empty: name a new one.")
    try:
        yield address
    finally:
        with opened(place) as db, writing(db) as connection:
            found = MetaData()
            found.reflect(connection)
            found.drop_all(connection)
            for function in connection.execute(_FUNCTIONS).scalars().all():
                connection.execute(text(f"DROP FUNCTION {function}"))
