"""An empty PostgreSQL to restore a backup into for a while: an own server or a named one."""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
from sqlalchemy import MetaData, text

from reelport.errors import StorageError, UsageError
from reelport.server.backup.state_dump import find_tool, list_tables
from reelport.server.settings import Settings
from reelport.server.state.database import open_database, writing
from reelport.storage.scratch_folder import open_scratch_folder

_OWNER = "reelport"
_UNPRIVILEGED = "postgres"
"""The user whom Debian's package makes; PostgreSQL refuses to run as root."""

_OPTIONS = ("listen_addresses=", "fsync=off", "full_page_writes=off", "jit=off", "max_connections=20")
"""Reached by its socket alone; what is lost with the machine was a copy."""

_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}
"""The server's: another user may read it, and this process has secrets in its own."""

_PATIENCE_SECONDS = 300
_SET_DEATH_SIGNAL = 1


@contextmanager
def own_server(scratch: Path | None) -> Iterator[str]:
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
    _forget_other_servers()
    where = scratch if user is None else None
    with _folder(where, user) as data, _folder(None, user) as socket:  # a socket's path has 107 letters at most
        _create_cluster(initdb, data / "cluster", user)
        words = ["-D", str(data / "cluster"), "-k", str(socket), *(f"-c{option}" for option in _OPTIONS)]
        with (data / "log").open("wb") as log:
            server = subprocess.Popen(
                [Path(initdb).with_name("postgres"), *words],
                stdout=log,
                stderr=log,
                user=user,
                group=user,
                env=_ENVIRONMENT,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - this command has one thread
            )
        try:
            _wait_until_ready(server, socket, data / "log")
            yield f"postgresql://{_OWNER}@/postgres?host={socket}"
        finally:
            _stop(server)


@contextmanager
def named_database(settings: Settings, address: str) -> Iterator[str]:
    """Lend an empty database; drop what was restored into it at the end.

    UsageError when it has tables: they are left alone.
    """
    if not address:
        raise UsageError("--scratch-database is empty: name a database.")
    place = replace(settings, database_url=address)
    if list_tables(place):
        raise UsageError("The database of --scratch-database isn't empty: name a new one.")
    try:
        yield address
    finally:
        _drop_tables(place)


def _forget_other_servers() -> None:
    """Let no variable of PostgreSQL's lead to another server than the own one."""
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]


def _find_user() -> str | None:
    """The user whom the server runs as; None for the one of this process."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(_UNPRIVILEGED).pw_name
    except KeyError:
        raise UsageError(
            f"PostgreSQL doesn't run as root, and there is no user {_UNPRIVILEGED!r}: run this as another user, or "
            "name an empty database (--scratch-database)."
        ) from None


def _folder(parent: Path | None, user: str | None) -> AbstractContextManager[Path]:
    return open_scratch_folder("reelport-verify-", parent, None if user is None else pwd.getpwnam(user).pw_uid)


def _create_cluster(initdb: str, to: Path, user: str | None) -> None:
    words = ["-D", str(to), "-U", _OWNER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
    done = subprocess.run(
        [initdb, *words],
        user=user,
        group=user,
        env=_ENVIRONMENT,
        cwd=to.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise StorageError(f"No PostgreSQL could be made in {to.parent}: {done.stderr.strip()}")


def _wait_until_ready(server: subprocess.Popen[bytes], socket: Path, log: Path) -> None:
    for _ in range(_PATIENCE_SECONDS * 10):
        try:
            psycopg.connect(host=str(socket), user=_OWNER, dbname="postgres").close()
        except psycopg.OperationalError:
            pass
        else:
            return
        try:
            server.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
        break
    raise StorageError(f"The PostgreSQL to restore into did not start: {log.read_text(errors='replace').strip()}")


def _stop(server: subprocess.Popen[bytes]) -> None:
    """Stop it at once: nothing of it is kept."""
    server.send_signal(signal.SIGQUIT)
    server.wait()


def _die_with_parent() -> None:
    """Have the kernel end the server when this process ends, however it does."""
    ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, int(signal.SIGQUIT))


def _drop_tables(settings: Settings) -> None:
    db = open_database(settings)
    try:
        with writing(db) as connection:
            found = MetaData()
            found.reflect(connection)
            found.drop_all(connection)
            functions = text(
                "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = current_schema::regnamespace"
            )
            for function in connection.execute(functions).scalars().all():
                connection.execute(text(f"DROP FUNCTION {function}"))
    finally:
        db.dispose()
