"""A real PostgreSQL of the tests: started, stopped, copied to a replica and promoted by its own programs."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import URL, make_url

from .patience import PATIENCE, free_port

GUARDED = "guarded"
"""The one role that a server asks for its password; `guarded_address` makes it."""

_NAME = "postgres"
_MEMORY, _ROOM = Path("/dev/shm"), 4 << 30  # noqa: S108 - a folder of our own is made in it
"""Where files of a database cost least, and the free bytes from which on a server's folder is made there.

Each database is three hundred files: to make and delete them on a disk takes most of what its tests take.
"""
# Ends with its stdin, and so also after tests that were killed: nobody else would stop the server then. A server that
# is still starting ends by itself once its folder is gone.
_REMOVE = """
read -r _ || :
while test -e "$0"; do
    read -r pid < "$0/data/postmaster.pid" && test "/proc/$pid/cwd" -ef "$0/data" && kill -QUIT "$pid"
    rm -rf "$0" || sleep 0.1
done
"""


def find_program(name: str) -> Path | None:
    """A program of PostgreSQL: where Debian puts the newest, else on the path."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    on_path = shutil.which(name)
    return found[-1] if found else Path(on_path) if on_path else None


@contextmanager
def guarded_address(address: str, password: str) -> Iterator[URL]:
    """Within the block, the address of a database with the role GUARDED, which may do all and has this password."""
    with psycopg.connect(address, autocommit=True) as owner:
        owner.execute(sql.SQL("CREATE ROLE {} SUPERUSER LOGIN PASSWORD {}").format(sql.Identifier(GUARDED), password))
        try:
            yield make_url(address).set(username=GUARDED, password=password)
        finally:
            owner.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(GUARDED)))


class PostgresServer:
    """A server in a folder of its own; it listens on a port of 127.0.0.1 and trusts everybody there but GUARDED.

    It ends with the tests, also with those that are killed.
    """

    def __init__(self) -> None:
        initdb = find_program("initdb")
        if initdb is None:
            pytest.skip("PostgreSQL is not installed: there is no initdb")
        self.port = free_port()
        self._programs = initdb.parent
        in_memory = os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ROOM
        self._folder = Path(tempfile.mkdtemp(prefix="reelport-postgresql-", dir=_MEMORY if in_memory else None))
        # PostgreSQL refuses to run as root.
        self._as_user = ["runuser", "-u", _NAME, "--"] if os.getuid() == 0 else []
        if self._as_user:
            shutil.chown(self._folder, _NAME)
        words, quiet = ["/bin/sh", "-c", _REMOVE, str(self._folder)], subprocess.DEVNULL
        self._remover = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, start_new_session=True
        )

    @property
    def address(self) -> str:
        """Its address, without a database."""
        return f"postgresql://{_NAME}@127.0.0.1:{self.port}"

    def create(self, encoding: str = "UTF8", locale: str = "") -> None:
        """Make an empty cluster; in the environment's locale where none is named."""
        words = ("-E", encoding, *((f"--locale={locale}",) if locale else ()), "--no-sync")
        self._run("initdb", "-D", self._data, "-U", _NAME, "-A", "trust", *words)
        rules = Path(self._data, "pg_hba.conf")
        rules.write_text(f"host all {GUARDED} 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")

    def copy_from(self, primary: PostgresServer) -> None:
        """Become a streaming replica of another server."""
        self._run(
            *("pg_basebackup", "-D", self._data, "-h", "127.0.0.1", "-p", str(primary.port), "-U", _NAME),
            *("--write-recovery-conf", "--checkpoint=fast", "--no-sync"),
        )

    def start(self, **options: str) -> None:
        """Start, with more options of the server, and wait until it answers."""
        given = {"listen_addresses": "127.0.0.1", "fsync": "off", "max_connections": "100", **options}
        words = [f"-p {self.port} -k {self._folder}", *(f"-c {name}={value}" for name, value in given.items())]
        self._control("-o", " ".join(words), "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop: `fast` ends its sessions, `immediate` is a crash."""
        self._control("-m", mode, "stop")

    def promote(self) -> None:
        """Make a primary of a replica."""
        self._control("promote")

    def is_running(self) -> bool:
        """Whether its process runs."""
        return (Path(self._data) / "postmaster.pid").exists()

    def remove(self) -> None:
        """Stop it if it runs, and delete its folder."""
        if self.is_running():
            self.stop("immediate")
        shutil.rmtree(self._folder)
        self._remover.communicate(b"\n", timeout=PATIENCE)  # a line: children of the tests may hold its stdin, too

    def execute(self, statement: str, database: str = _NAME) -> list[tuple[object, ...]]:
        """Run a statement; its rows."""
        with psycopg.connect(f"{self.address}/{database}", autocommit=True) as connection:
            done = connection.execute(statement.encode())
            return done.fetchall() if done.description else []

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    def _control(self, *words: str) -> None:
        self._run("pg_ctl", "-D", self._data, "-w", "-t", "300", *words)

    def _run(self, program: str, *words: str) -> None:
        with tempfile.TemporaryFile() as said:
            command = [*self._as_user, str(self._programs / program), *words]
            done = subprocess.run(command, cwd=self._folder, stdout=said, stderr=said, check=False)
            said.seek(0)
            assert done.returncode == 0, said.read().decode(errors="replace")
