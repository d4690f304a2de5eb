"""How far a load is: how much of how much, for people and for programs."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.patience import PATIENCE, until

from reelport.cli.service_commands.facts_output import LoadProgress
from reelport.facts.input.files import Progress, ProgressMeter, detect_format
from reelport.facts.loading.load import load


def test_a_load_tells_how_much_of_how_much_is_done(tmp_path: Path) -> None:
    """Bytes of bytes for text, packed or not, and rows of rows for Parquet: from nothing to all of it, never back."""
    rows = "".join(f"c{at},{at:0100}\n" for at in range(80_000))
    plain, packed, stored = tmp_path / "c.csv", tmp_path / "c.csv.gz", tmp_path / "c.parquet"
    plain.write_text("id,slug\n" + rows)
    packed.write_bytes(gzip.compress(plain.read_bytes(), 1))
    pq.write_table(pa.table({"id": [f"c{at}" for at in range(9)], "slug": [f"s{at}" for at in range(9)]}), stored)
    for path in (plain, packed, stored):
        told: list[Progress] = []
        load(tmp_path / path.suffix / "facts", "channels", [path], progress=told.append)
        read = [one for one in told if one.stage == "reading" and one.unit == "bytes"]
        size = path.stat().st_size
        if path is not stored:
            assert [one.done for one in read] == sorted(one.done or 0 for one in read)
            assert 0 < (read[0].done or 0) < size
            assert {one.total for one in read} == {size}
            assert (read[-1].done, read[-1].rows) == (size, 80_000)
        written = [one for one in told if one.stage == "writing"]
        assert (written[-1].done, written[-1].total, written[-1].unit) == (written[-1].rows, written[-1].rows, "rows")
        assert [one.stage for one in told][-1] == "committing"


def test_what_only_the_engine_reads_is_told_by_its_share(tmp_path: Path) -> None:
    """Of Parquet so many rows of all; of what a mapping reads bytes or rows; of a sort nothing but that it goes on."""
    text, stored = tmp_path / "c.csv", tmp_path / "c.parquet"
    text.write_text("id,slug\nc1,a\n")
    pq.write_table(pa.table({"id": ["c1"]}), stored)
    told: list[Progress] = []
    size = text.stat().st_size
    rows, mapped, sorting = (ProgressMeter(detect_format([path]), told.append) for path in (stored, text, text))
    rows.stored = 1_000
    rows.report_engine_share(0.25)
    mapped.is_engine_reading = True
    mapped.report_engine_share(0.5)
    for meter in (mapped, sorting):
        meter.set_position(0, size)
        meter.add_read_rows(10)
        meter.report_engine_share(0.5)
    rows.report_written(1, 1_000)
    rows.report_engine_share(0.9)
    assert [one for one in told if one.unit == "rows" or not one.rows] == [
        Progress("reading", 0, 250, 1_000),
        Progress("reading", 0, size // 2, size, "bytes"),
        Progress("mapping", 10, 5, 10),
        Progress("sorting", 10),
        Progress("writing", 1, 1, 1_000),
    ]


@pytest.mark.parametrize(
    ("progress", "line"),
    [
        (Progress("reading", 80_000, 12_000_000, 48_000_000, "bytes"), "reading 12.0 MB of 48.0 MB (25%), 80,000 rows"),
        (Progress("reading", 0, 0, 48_000_000, "bytes"), "reading 0 bytes of 48.0 MB (0%)"),
        (Progress("reading", 0, 250, 1_000), "reading 250 of 1,000 rows (25%)"),
        (Progress("writing", 7), "writing 7 rows"),
    ],
)
def test_progress_has_a_total(progress: Progress, line: str) -> None:
    """A line says how much of how much, and its share; for a program the same are numbers."""
    said, told = io.StringIO(), io.StringIO()
    with LoadProgress(said, every=0.02) as shown:
        shown.update(progress)
        assert until(lambda: re.search(rf"^{re.escape(line)} \(\d+ s\)$", said.getvalue(), re.MULTILINE))
    with LoadProgress(told, every=0.02, as_json=True) as shown:
        shown.update(progress)
        assert until(lambda: f'"stage": "{progress.stage}", "rows": {progress.rows},' in told.getvalue())
    event = json.loads(told.getvalue().splitlines()[-1])
    assert event["event"] == "progress"
    assert {name: event[name] for name in ("stage", "rows", "done", "total", "unit")} == asdict(progress)


def test_a_terminal_shows_a_bar_and_the_share() -> None:
    """What is done of all is drawn, and told in percent."""
    ours, theirs = os.openpty()
    drawn = ""
    with os.fdopen(theirs, "w") as stream, LoadProgress(stream) as shown:
        shown.update(Progress("reading", 80_000, 12_000_000, 48_000_000, "bytes"))
        while " 25%" not in drawn:
            drawn += os.read(ours, 100_000).decode(errors="replace")
    os.close(ours)
    assert "reading 12.0 MB of 48.0 MB, 80,000 rows" in drawn


def test_progress_is_a_line_now_and_then_where_there_is_no_terminal() -> None:
    """A log gets a line every few seconds with the stage, the rows and the time; a short load says nothing."""
    stream = io.StringIO()
    with LoadProgress(stream, every=0.02) as shown:
        shown.update(Progress("writing", 1234))
        assert until(lambda: re.search(r"^writing 1,234 rows \(\d+ s\)$", stream.getvalue(), re.MULTILINE))
    quiet = io.StringIO()
    with LoadProgress(quiet, every=PATIENCE) as shown:
        shown.update(Progress("writing", 1))
    assert quiet.getvalue() == ""
