"""What a report will read, by row groups, and in which format it is written."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reelport.engine.compile import plan_pieces
from reelport.engine.duckdb.engine import QueryEngine
from reelport.engine.report_format import ReportFormat
from reelport.engine.report_size import RowGroupIndex, Scan
from reelport.engine.tenant import Tenant
from reelport.errors import InternalError, ReelportError
from reelport.query import ReportQuery

from .sample import END, MINE, START
from .world import World

FIRST, LAST = date(2026, 7, 1), date(2026, 7, 4)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of four row groups of two rows: a on days 1 and 2, a on 3 and 4, b on 1 and 2, é on 3 and nobody."""
    folder = tmp_path / "a*b?[c]' é"
    folder.mkdir()
    rows = {
        "owner_channel_id": ["a", "a", "a", "a", "b", "b", "é", None],
        "day": [date(2026, 7, day) for day in (1, 2, 3, 4, 1, 2, 3, 4)],
    }
    pq.write_table(pa.table(rows), folder / "f.parquet", row_group_size=2)
    return folder / "f.parquet"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[RowGroupIndex]:
    with QueryEngine("400MB", 1, None, within=(tmp_path,)) as engine:
        yield RowGroupIndex(engine)


@pytest.mark.parametrize(
    ("channels", "start", "end", "rows"),
    [
        (None, FIRST, LAST, 8),
        (None, FIRST, FIRST, 4),
        (None, date(2026, 7, 5), date(2026, 7, 6), 0),
        ({"a"}, FIRST, LAST, 4),
        ({"a"}, date(2026, 7, 2), date(2026, 7, 2), 2),
        ({"b", "é"}, FIRST, LAST, 4),
        ({"aa"}, FIRST, LAST, 0),
        (set(), FIRST, LAST, 0),
    ],
)
def test_only_row_groups_that_may_hold_a_row_count(
    index: RowGroupIndex, path: Path, channels: set[str] | None, start: date, end: date, rows: int
) -> None:
    """By days, and where only owners count by owners; a second look reads no footer."""
    scan = Scan("earnings", (str(path),), 8, "day", start, end, None if channels is None else frozenset(channels))
    assert index.count_rows([scan]) == rows
    path.unlink()
    assert index.count_rows([scan, scan]) == 2 * rows


def test_a_file_that_can_not_be_read_is_told(index: RowGroupIndex, path: Path) -> None:
    """It raises, as reading its rows would."""
    path.write_bytes(b"no parquet")
    with pytest.raises(ReelportError, match="this page"):
        index.count_rows([Scan("earnings", (str(path),), 8, "day", FIRST, LAST, None)])


PARQUET = ReportFormat(".parquet", "application/vnd.apache.parquet", "FORMAT parquet, USE_TMP_FILE false", further=None)
BY_DAY = ReportQuery.of(["VIEWS"], ["DAY", "VIDEO_ID"], START, END)


def test_a_format_without_pieces_is_written_in_one_go(world: World, tmp_path: Path) -> None:
    """A report that would be cut as a CSV is whole, with the same rows; its bytes are hashed and counted as any."""
    path = tmp_path / PARQUET.file_name("report")
    pieces = plan_pieces(BY_DAY, Tenant(MINE), world.snapshot, report_format=PARQUET, worth=0, size=1)
    written = world.engine.session().write(pieces, path, PARQUET)
    found = pq.read_table(path)
    rows = [[str(row["day"]), row["video_id"], f"{row['views']:.0f}"] for row in found.to_pylist()]
    assert [found.column_names, *rows] == list(csv.reader(world.text(BY_DAY, MINE).splitlines()))
    assert (written.rows, written.bytes) == (found.num_rows, path.stat().st_size)


def test_pieces_that_can_not_be_appended_are_refused(world: World, tmp_path: Path) -> None:
    """Rather than written one after the other into a file that nobody can read."""
    pieces = plan_pieces(BY_DAY, Tenant(MINE), world.snapshot, worth=0, size=1)
    with pytest.raises(InternalError, match="can't be written in pieces"):
        world.engine.session().write(pieces, tmp_path / "report.parquet", PARQUET)
    assert list(tmp_path.iterdir()) == []
