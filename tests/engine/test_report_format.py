"""Another format of reports is one more value: suffix, media type, options, and whether its pieces can be appended."""

from __future__ import annotations

import csv
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from reelport.engine.compile import plan_pieces
from reelport.engine.report_format import ReportFormat
from reelport.engine.tenant import Tenant
from reelport.errors import InternalError
from reelport.query import ReportQuery

from .sample import END, MINE, START
from .world import World

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
