"""The facts that are measured on: Parquet files as a platform would hand them over, and the tables loaded from them."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import duckdb

from reelport.facts.data_files.duckdb_session import parquet_source
from reelport.facts.loading.compaction import compact
from reelport.facts.loading.load import load
from reelport.facts.log.snapshot import pin

START = date(2025, 1, 1)
DAYS = 188
"""Days of facts: a few more than the longest report, so that the same report can be asked of other days."""
CHANNELS = 400
BIG_CHANNEL, SMALL_CHANNEL = "c00000", "c00007"
MEMORY = "2GB"
_BIG_SHARE, _BIG_VIDEOS, _VIDEOS = 0.35, 6000, 60
_SQL = Path(__file__).parent / "sql"
_HERE = Path(__file__).parent / "data"
_TABLES = ("channels", "videos", "plays")


@dataclass(frozen=True, slots=True)
class Facts:
    """So many rows of plays, kept in a folder of their own between runs."""

    rows: int

    @property
    def folder(self) -> Path:
        """Where all of it lies."""
        return _HERE / str(self.rows)

    @property
    def data(self) -> Path:
        """The data directory of the service that is measured."""
        return self.folder / "service"

    @property
    def months(self) -> list[Path]:
        """The Parquet files of plays, a file a month, in order of arrival."""
        return sorted((self.folder / "source").glob("plays-*.parquet"))

    def files(self, table: str, start: date | None = None, end: date | None = None) -> tuple[str, ...]:
        """The files of the loaded table that a report of these days reads."""
        return pin(self.data / "facts", [table]).files(table, start, end)

    def source(self, table: str, start: date | None = None, end: date | None = None) -> str:
        """What stands for these files in DuckDB's SQL."""
        return parquet_source(list(self.files(table, start, end)))

    def ready(self) -> None:
        """Make what is not there yet. Files of another version of the generator are made anew."""
        marker = self.folder / "made.json"
        wanted = {"rows": self.rows, "generator": _generator()}
        if marker.exists() and json.loads(marker.read_text()) == wanted:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self._generate()
        self._load()
        marker.write_text(json.dumps(wanted))

    def _generate(self) -> None:
        folder = self.folder / "source"
        folder.mkdir(parents=True)
        with duckdb.connect() as session:
            session.execute("SET TimeZone = 'UTC'")
            session.execute("SET enable_progress_bar = false")
            for name, value in _variables(self.rows).items():
                session.execute(f"SET VARIABLE {name} = {value}")
            for table in ("channels", "videos"):
                _write(session, table, folder / f"{table}.parquet")
            for number, (first, last) in enumerate(_months(self.rows)):
                print(f"making plays {first:,} to {last:,}", flush=True)
                session.execute(f"SET VARIABLE first = {first}")
                session.execute(f"SET VARIABLE last = {last}")
                _write(session, "plays", folder / f"plays-{number + 1:02d}.parquet")

    def _load(self) -> None:
        root = self.data / "facts"
        for table in _TABLES:
            for file in sorted((self.folder / "source").glob(f"{table}*.parquet")):
                print(f"loading {file.name}", flush=True)
                load(root, table, [file], memory=MEMORY)
        compact(root, today=START + timedelta(days=DAYS + 30), memory=MEMORY)


def _write(session: duckdb.DuckDBPyConnection, table: str, to: Path) -> None:
    query = (_SQL / f"{table}.sql").read_text()
    session.execute(f"COPY ({query}) TO '{to}' (FORMAT parquet, COMPRESSION zstd)")


def _variables(rows: int) -> dict[str, str]:
    return {
        "rows": f"{rows}::BIGINT",
        "days": str(DAYS),
        "start": f"TIMESTAMP '{START} 00:00:00'",
        "channels": f"{CHANNELS}::BIGINT",
        "videos": f"{_VIDEOS}::BIGINT",
        "big_videos": f"{_BIG_VIDEOS}::BIGINT",
        "big_share": str(_BIG_SHARE),
    }


def _months(rows: int) -> list[tuple[int, int]]:
    """The first row of each month's file, and the first that isn't its any more."""
    starts = [passed for passed in range(DAYS) if (START + timedelta(days=passed)).day == 1]
    edges = [-(-rows * passed // DAYS) for passed in [*starts, DAYS]]
    return list(pairwise(edges))


def _generator() -> str:
    texts = [(_SQL / f"{table}.sql").read_text() for table in _TABLES]
    made_by = [*texts, str(_variables(1)), duckdb.__version__]
    return hashlib.sha256("\n".join(made_by).encode()).hexdigest()[:16]
