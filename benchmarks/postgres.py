"""A PostgreSQL server of the benchmark's own, from the installed package: started on a free port, filled once."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

import duckdb
import psutil
import psycopg

from benchmarks.facts import Facts
from benchmarks.measure import Took

MOST_ROWS = 20_000_000
"""Facts beyond this are not copied in unless asked for: it takes longer than all the rest."""
_SETTINGS = {
    "shared_buffers": "1GB",
    "work_mem": "256MB",
    "maintenance_work_mem": "1GB",
    "effective_cache_size": "8GB",
    "max_wal_size": "8GB",
    "max_parallel_workers_per_gather": "2",
    "max_parallel_maintenance_workers": "2",
    "fsync": "off",
    "timezone": "UTC",
}
_ORDER = {"plays": "owner_channel_id, started_at", "videos": "id", "channels": "id"}
_INDEXES = (
    "CREATE INDEX ON plays (owner_channel_id, started_at)",
    "CREATE INDEX ON plays USING brin (started_at)",
    "CREATE UNIQUE INDEX ON videos (id)",
    "CREATE UNIQUE INDEX ON channels (id)",
)
_BLOCK = 1 << 20
_LOOK_SECONDS = 0.05


def programs() -> Path | None:
    """The folder of PostgreSQL's programs, newest version first; None when it isn't installed."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    folders = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    return max((path.parent for path in folders), key=lambda path: float(path.parent.name), default=None)


class Cluster:
    """A running server with the facts in it. Its files stay with the facts for the next run."""

    def __init__(self, facts: Facts, programs: Path) -> None:
        self._facts = facts
        self._programs = programs
        self._folder = facts.folder / "postgres"
        # PostgreSQL refuses to run as root.
        self._user = "postgres" if os.geteuid() == 0 else None
        filled = self._folder / "filled"
        if not filled.exists():
            self._make()
        self._port = _free_port()
        self._server = self._start()
        if not filled.exists():
            try:
                self._fill()
            except BaseException:
                self.stop()
                raise
            filled.touch()

    @property
    def version(self) -> str:
        """The version of the server."""
        with self._session() as session:
            row = session.execute("SHOW server_version").fetchone()
        return str(row[0]) if row else ""

    def copied(self, sql: str, to: Path) -> Took:
        """Let the server write the rows of the SQL as a CSV file, by way of a client as a partner would."""
        with self._session() as session, _Watch(self._server.pid) as watch, to.open("wb") as file:
            started = time.perf_counter()
            with session.cursor().copy(f"COPY ({sql}) TO STDOUT (FORMAT csv, HEADER true)") as rows:
                for block in rows:
                    file.write(block)
            seconds = time.perf_counter() - started
        return Took(seconds, 0.0, watch.most)

    def stop(self) -> None:
        """Stop the server."""
        self._server.terminate()
        self._server.wait()

    def _make(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        if self._user:
            shutil.chown(self._folder, self._user)
        words: list[str | Path] = [self._programs / "initdb", "-D", self._folder / "cluster", "-A", "trust"]
        words += ["-U", "bench", "-E", "UTF8", "--locale=C"]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, cwd=self._folder, user=self._user)

    def _start(self) -> subprocess.Popen[bytes]:
        words: list[str | Path] = [self._programs / "postgres", "-D", self._folder / "cluster"]
        words += ["-p", str(self._port), "-h", "127.0.0.1", "-k", ""]
        for name, value in _SETTINGS.items():
            words += ["-c", f"{name}={value}"]
        with (self._facts.folder / "postgres.log").open("wb") as log:
            server = subprocess.Popen(words, stdout=log, stderr=log, cwd=self._folder, user=self._user)
        until = time.monotonic() + 30
        while time.monotonic() < until and server.poll() is None:
            with suppress(psycopg.OperationalError), self._session():
                return server
            time.sleep(0.1)
        server.kill()
        raise RuntimeError(f"PostgreSQL did not start: see {self._facts.folder / 'postgres.log'}")

    def _session(self) -> psycopg.Connection:
        return psycopg.connect(host="127.0.0.1", port=self._port, user="bench", dbname="postgres", autocommit=True)

    def _fill(self) -> None:
        with self._session() as session, duckdb.connect() as engine:
            engine.execute("SET TimeZone = 'UTC'")
            engine.execute("SET enable_progress_bar = false")
            for table, order in _ORDER.items():
                print(f"copying {table} into PostgreSQL", flush=True)
                self._fill_table(session, engine, table, order)
            for index in _INDEXES:
                session.execute(index)
            session.execute("VACUUM ANALYZE")

    def _fill_table(
        self, session: psycopg.Connection, engine: duckdb.DuckDBPyConnection, table: str, order: str
    ) -> None:
        relation = engine.sql(f"SELECT * EXCLUDE ({_left_out(table)}) FROM {self._facts.source(table)}")
        columns = [f"{name} {_TYPES[str(kind)]}" for name, kind in zip(relation.columns, relation.types, strict=True)]
        session.execute(f"DROP TABLE IF EXISTS {table}")
        session.execute(f"CREATE TABLE {table} ({', '.join(columns)})")
        path = self._facts.folder / f"{table}.csv"
        engine.execute(f"COPY (FROM ({relation.sql_query()}) ORDER BY {order}) TO '{path}' (FORMAT csv, HEADER false)")
        with path.open("rb") as file, session.cursor().copy(f"COPY {table} FROM STDIN (FORMAT csv)") as rows:
            while block := file.read(_BLOCK):
                rows.write(block)
        path.unlink()


_TYPES = {"VARCHAR": "text", "BIGINT": "bigint", "TIMESTAMP WITH TIME ZONE": "timestamptz"}


def _left_out(table: str) -> str:
    return {"plays": "batch", "videos": "tags", "channels": "name"}[table]


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class _Watch:
    """Looks again and again at what a server's processes hold: own memory of each, and the shared part once."""

    def __init__(self, pid: int) -> None:
        self._server = psutil.Process(pid)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.most = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while True:
            self.most = max(self.most, self._held())
            if self._ended.wait(_LOOK_SECONDS):
                return

    def _held(self) -> int:
        own, shared = 0, 0
        for process in [self._server, *self._server.children()]:
            with suppress(psutil.NoSuchProcess):
                memory = process.memory_info()
                own += memory.rss - memory.shared
                shared = max(shared, memory.shared)
        return own + shared
