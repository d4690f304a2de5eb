"""The facts that are measured on: Parquet files as a platform would hand them over, and the tables loaded from them."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
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


COMPACTED = 100_000_000
"""Rows up to which the days' files are compacted into months, as an operator would; beyond, a month's sort spills for
long, and a day's file has as many rows as a month's at a thirtieth of the size."""
_PIECE_ROWS = 6_000_000


@dataclass(frozen=True, slots=True)
class Piece:
    """Some days of plays: the first of them, their first row, and the first row that isn't theirs any more."""

    day: date
    first: int
    last: int


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

    def forget_state(self) -> None:
        """Delete all that the service knows beside the tables: a report from before would answer the same ask."""
        for file in (*self.data.glob("state.db*"), self.data / "state.database", self.data / "secret.key"):
            file.unlink(missing_ok=True)
        shutil.rmtree(self.data / "files", ignore_errors=True)

    @property
    def first_piece(self) -> Path:
        """The Parquet file of the first piece of plays, in order of arrival; the only one that is kept."""
        return self.folder / "source" / "plays-0001.parquet"

    def files(self, table: str, start: date | None = None, end: date | None = None) -> tuple[str, ...]:
        """The files of the loaded table that a report of these days reads."""
        return pin(self.data / "facts", [table]).files(table, start, end)

    def source(self, table: str, start: date | None = None, end: date | None = None) -> str:
        """What stands for these files in DuckDB's SQL."""
        return parquet_source(list(self.files(table, start, end)))

    def ready(self) -> None:
        """Make and load what is not there yet. Files of another version of the generator are made anew."""
        if self.is_ready():
            return
        if self._read_marker() != self._wanted:
            shutil.rmtree(self.folder, ignore_errors=True)
            (self.folder / "source").mkdir(parents=True)
            self._marker.write_text(json.dumps(self._wanted))
        self._load()
        self.mark()

    def is_ready(self) -> bool:
        """Whether all of it is loaded."""
        return self._read_marker().items() >= {**self._wanted, "loaded": True}.items()

    def mark(self, **more: object) -> None:
        """Record that all of it is loaded, and what else is to be known of it."""
        self._marker.write_text(json.dumps({**self._wanted, "loaded": True, **more}))

    @property
    def _marker(self) -> Path:
        return self.folder / "made.json"

    @property
    def _wanted(self) -> dict[str, object]:
        return {"rows": self.rows, "generator": _generator()}

    def _read_marker(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self._marker.read_text()) if self._marker.exists() else {}
        return found

    def _load(self) -> None:
        """Load piece by piece, so that the sources never lie there whole; what an earlier run loaded stays."""
        root = self.data / "facts"
        with duckdb.connect() as session:
            _prepare(session, self.rows)
            for table in ("channels", "videos"):
                file = self.folder / "source" / f"{table}.parquet"
                _write(session, table, file)
                load(root, table, [file], memory=MEMORY)
            for number, piece in enumerate(_pieces(self.rows), 1):
                if not self._holds(piece):
                    self._load_piece(session, number, piece)
        if self.rows <= COMPACTED:
            print("compacting", flush=True)
            compact(root, today=START + timedelta(days=DAYS + 30), memory=MEMORY)

    def _holds(self, piece: Piece) -> bool:
        return bool(self.files("plays", piece.day, piece.day))

    def _load_piece(self, session: duckdb.DuckDBPyConnection, number: int, piece: Piece) -> None:
        print(f"{datetime.now(UTC):%H:%M:%S} making and loading plays {piece.first:,} to {piece.last:,}", flush=True)
        file = self.first_piece.with_name(f"plays-{number:04d}.parquet")
        session.execute(f"SET VARIABLE first = {piece.first}")
        session.execute(f"SET VARIABLE last = {piece.last}")
        _write(session, "plays", file)
        load(self.data / "facts", "plays", [file], memory=MEMORY)
        if file != self.first_piece:
            file.unlink()


def _prepare(session: duckdb.DuckDBPyConnection, rows: int) -> None:
    session.execute("SET TimeZone = 'UTC'")
    session.execute("SET enable_progress_bar = false")
    for name, value in _variables(rows).items():
        session.execute(f"SET VARIABLE {name} = {value}")


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


def _pieces(rows: int) -> Iterator[Piece]:
    """Whole days that are loaded together: at most a month, and about as many rows as are sorted in memory."""
    length = max(1, _PIECE_ROWS * DAYS // rows)
    first = 0
    for passed in range(1, DAYS + 1):
        is_new_month = (START + timedelta(days=passed)).day == 1
        if is_new_month or passed - first >= length or passed == DAYS:
            yield Piece(START + timedelta(days=first), -(-rows * first // DAYS), -(-rows * passed // DAYS))
            first = passed


def _generator() -> str:
    texts = [(_SQL / f"{table}.sql").read_text() for table in _TABLES]
    made_by = [*texts, str(_variables(1)), duckdb.__version__]
    return hashlib.sha256("\n".join(made_by).encode()).hexdigest()[:16]
