"""What the tests of facts share: a root for tables, files to load, and rows as a query sees them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from reelport.facts.data_files.duckdb_session import parquet_source
from reelport.facts.log.log_files import RemoteTables, attach_tables
from reelport.facts.log.snapshot import pin
from reelport.storage.file_cache import FileCache
from reelport.storage.s3_address import S3Address

Rows = list[tuple[object, ...]]


@pytest.fixture
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A root without tables; one that stands for an object store where `make test-objects` runs the tests."""
    root = tmp_path / "data" / "facts"
    if os.environ.get("REELPORT_TEST_TABLES") == "objects":
        request.getfixturevalue("object_server")
        attach_tables(root, remote_tables(root))
    return root


def remote_tables(root: Path) -> RemoteTables:
    """Return tables in the tests' bucket, under a prefix of this root's own; their cache holds next to nothing."""
    prefix = hashlib.sha256(str(root).encode()).hexdigest()
    return RemoteTables(S3Address("reelport-tests", prefix), FileCache(root.parent / "cache", 100, "facts/"))


@pytest.fixture(scope="session")
def reading_session() -> Iterator[duckdb.DuckDBPyConnection]:
    """One DuckDB that reads tables for all tests: to open one takes longer than what they ask of it."""
    with duckdb.connect() as session:
        session.execute("SET TimeZone = 'UTC'")
        yield session


@pytest.fixture
def ask(root: Path, reading_session: duckdb.DuckDBPyConnection) -> Callable[..., Rows]:
    """Rows of a table by plain SQL over the files of its newest version; `t` stands for the table."""

    def run(table: str, sql: str = "SELECT * FROM t") -> Rows:
        files = list(pin(root, [table]).files(table))
        if not files:
            return []
        with reading_session.cursor() as session:
            session.execute("SET TimeZone = 'UTC'")
            session.execute(f"CREATE TEMP VIEW t AS SELECT * FROM {parquet_source(files)}")
            return session.execute(sql).fetchall()

    return run


@pytest.fixture
def plays(tmp_path: Path) -> Callable[..., Path]:
    """A CSV file of plays: each row is (moment, video, owner, views)."""

    def write(name: str, *rows: tuple[str, str, str, int | str], extra: str = "") -> Path:
        header = "started_at,video_id,owner_channel_id,media_type,views,time_watched_seconds\n"
        body = "".join(f"{moment},{video},{owner},video,{views},7\n" for moment, video, owner, views in rows)
        path = tmp_path / name
        path.write_text(header + body + extra)
        return path

    return write


@pytest.fixture
def earnings(tmp_path: Path) -> Callable[..., Path]:
    """A CSV file of earnings: each row is (day, owner, eur)."""

    def write(name: str, *rows: tuple[str, str, object]) -> Path:
        path = tmp_path / name
        lines = (f"{day},{owner},{eur},1\n" for day, owner, eur in rows)
        path.write_text(f"day,owner_channel_id,eur,usd\n{''.join(lines)}")
        return path

    return write
