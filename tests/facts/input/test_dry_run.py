"""A dry run judges all rows and leaves nothing; a load says how far it is."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.cases import thin_out
from tests.patience import PATIENCE, until

from reelport.cli.service_commands.facts_output import show_load
from reelport.errors import BadInput
from reelport.facts.input.files import Progress, ProgressMeter, detect_format
from reelport.facts.input.rejects import parse_max_bad
from reelport.facts.loading.load import load
from reelport.facts.loading.preview import Preview, preview
from reelport.facts.loading.undo import undo

pytestmark = pytest.mark.long

JULY_1 = (date(2023, 7, 1), date(2023, 7, 1))
MAP = "SELECT day, owner AS owner_channel_id, visitor_country, eur, usd FROM input"
GROUPED = (
    "SELECT day, owner AS owner_channel_id, min(visitor_country) AS visitor_country, "
    "sum(TRY_CAST(eur AS DECIMAL(18,6))) AS eur, CASE WHEN CAST(day AS VARCHAR) LIKE '%1' THEN 'x' ELSE '1' END AS usd "
    "FROM input GROUP BY day, owner"
)


def _export(tmp_path: Path, form: str, owner: str) -> Path:
    """30,000 rows of earnings, every 1,000th with a wrong country, every 5,000th with no number besides."""
    path = tmp_path / f"e.{form}"
    source = f"""
        SELECT strftime(DATE '2023-07-01' + (n % 3)::INTEGER, '%Y-%m-%d') AS day, 'c' || n % 7 AS {owner},
            CASE WHEN n % 1000 = 999 THEN 'ZZ' ELSE 'FR' END AS visitor_country,
            CASE WHEN n % 5000 = 4999 THEN 'x' ELSE '1.5' END AS eur, '1' AS usd
        FROM range(30000) AS t(n) ORDER BY n
    """
    kind = {"csv": "FORMAT csv, HEADER", "ndjson": "FORMAT json", "parquet": "FORMAT parquet"}[form]
    duckdb.sql(f"COPY ({source}) TO '{path}' ({kind})")
    return path


def _listing(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize(
    ("form", "mapping", "lenient"),
    thin_out(
        [
            ("csv", None, False),
            ("csv", MAP, True),
            ("csv", GROUPED, False),
            ("ndjson", None, True),
            ("ndjson", MAP, False),
            ("parquet", None, False),
            ("parquet", MAP, True),
            ("parquet", GROUPED, False),
        ],
        9,
        nightly=True,
    ),
)
def test_a_dry_run_counts_what_a_load_counts(
    tmp_path: Path, root: Path, form: str, mapping: str | None, lenient: bool
) -> None:
    """Rows, rejects, days and what is kept all the same are those of the load that follows, for each form."""
    path = _export(tmp_path, form, "owner_channel_id" if mapping is None else "owner")
    text = tmp_path / "map.sql"
    text.write_text(mapping or "")
    options: dict[str, Any] = {"mapping": text if mapping else None, "lenient": lenient}
    before, told = _listing(tmp_path), list[Progress]()
    shown = preview(root, "earnings", [path], **options, progress=told.append)
    assert max((one.rows for one in told), default=0) <= 30_000
    assert _listing(tmp_path) == before
    done = load(root, "earnings", [path], **options)
    assert (shown.batch, shown.rows_to_load, shown.judged.rejects) == (done.batch, done.rows, done.rejects)
    assert tuple(shown.judged.days) == done.days
    assert shown.judged.outside == done.outside
    assert done.rows + done.rejects == (21 if mapping is GROUPED else 30_000)


def test_reasons_are_totalled_over_the_whole_file(tmp_path: Path, root: Path) -> None:
    """Each reason is told once, with how many rows have it and the first of them; rows with several count in each."""
    path = _export(tmp_path, "csv", "owner_channel_id")
    path.write_text(path.read_text() + "2023-07-01,c1\n" * 3 + "2023-07-01,c1,FR\n")
    judged = preview(root, "earnings", [path]).judged
    assert (judged.read, judged.rejects) == (30_004, 34)
    assert [(one.rows, one.example, one.line) for one in judged.reasons] == [
        (30, "visitor_country: 'ZZ' is no country code of ISO 3166-1 alpha-2, in capitals", 1_001),
        (6, "eur: 'x' is no decimal number", 5_001),
        (4, "it has 2 fields, the header has 5", 30_002),
    ]
    assert {one.file for one in judged.reasons} == {str(path)}


def test_reasons_of_a_mapping_name_the_rows_of_its_output(tmp_path: Path, root: Path) -> None:
    """The first row with a reason is told by its number there."""
    path, text = _export(tmp_path, "ndjson", "owner"), tmp_path / "map.sql"
    text.write_text(MAP)
    first = preview(root, "earnings", [path], mapping=text).judged.reasons[0]
    assert (first.file, first.line) == (None, 1_000)


@pytest.mark.parametrize(
    ("options", "why"),
    thin_out(
        [
            ({"strict": True}, "1 of 3 rows can't be taken (--strict)"),
            ({"max_bad": parse_max_bad("0")}, "1 of 3 rows can't be taken (--max-bad 0)"),
            ({"replace": JULY_1}, "1 of 3 rows can't be taken (a replacement takes no bad rows)"),
            ({"replace": JULY_1, "lenient": True}, "rows lie outside the days to replace (2023-07-02)"),
            ({"max_bad": parse_max_bad("50%")}, None),
        ],
        3,
        nightly=True,
    ),
)
def test_a_dry_run_tells_why_nothing_would_land(
    tmp_path: Path, root: Path, options: dict[str, Any], why: str | None
) -> None:
    """It refuses what the load refuses, on the same terms, and counts all the same."""
    path = tmp_path / "e.csv"
    path.write_text(
        "day,owner_channel_id,visitor_country,eur,usd\n2023-07-01,c1,FR,1,1\n2023-07-02,c1,FR,1,1\n2023-07-01,c1,zz,1,1\n"
    )
    shown = preview(root, "earnings", [path], **options)
    assert (shown.refusal, shown.rows_to_load) == (why, 0 if why else 2)
    if why:
        with pytest.raises(BadInput):
            load(root, "earnings", [path], **options)


def test_a_dry_run_knows_what_is_there(root: Path, earnings: Callable[..., Path]) -> None:
    """A batch that stands changes nothing; one that comes back lacks the days that were replaced meanwhile."""
    first = earnings("a.csv", ("2023-07-01", "c1", 1), ("2023-07-02", "c1", 2))
    other = earnings("b.csv", ("2023-07-01", "c1", 5))
    done = load(root, "earnings", [first])

    def look() -> Preview:
        return preview(root, "earnings", [first])

    assert (look().already, look().rows_to_load) == (True, 0)
    load(root, "earnings", [other], replace=JULY_1)
    undo(root, done.batch)
    assert ([one.day for one in look().left_out], look().rows_to_load) == ([JULY_1[0]], 1)
    assert load(root, "earnings", [first]).left_out == look().left_out


def test_of_an_object_one_row_counts(tmp_path: Path, root: Path) -> None:
    """A file that tells an id twice loads one row of it."""
    path = tmp_path / "c.csv"
    path.write_text("id,slug\nc1,a\nc1,b\nc2,c\nc2,\n")
    shown = preview(root, "channels", [path])
    assert (shown.rows_to_load, shown.judged.rejects) == (2, 1)
    done = load(root, "channels", [path])
    assert (done.rows, done.rejects) == (2, 1)


def test_many_kinds_of_broken_lines_are_told_as_one(tmp_path: Path, root: Path) -> None:
    """What differs from line to line, a number or a place in it, makes no reason of its own."""
    path = tmp_path / "c.ndjson"
    good = json.dumps({"id": "c1", "slug": "a"})
    path.write_text(good + "\n" + "".join('{"id": ' + " " * at + "\n" for at in range(40)))
    judged = preview(root, "channels", [path]).judged
    assert [(one.reason, one.rows, one.line) for one in judged.reasons] == [("it is no JSON", 40, 2)]


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
    with show_load(said, every=0.02) as show:
        show(progress)
        assert until(lambda: re.search(rf"^{re.escape(line)} \(\d+ s\)$", said.getvalue(), re.MULTILINE))
    with show_load(told, every=0.02, as_json=True) as show:
        show(progress)
        assert until(lambda: f'"stage": "{progress.stage}", "rows": {progress.rows},' in told.getvalue())
    event = json.loads(told.getvalue().splitlines()[-1])
    assert event["event"] == "progress"
    assert {name: event[name] for name in ("stage", "rows", "done", "total", "unit")} == asdict(progress)


def test_a_terminal_shows_a_bar_and_the_share() -> None:
    """What is done of all is drawn, and told in percent."""
    ours, theirs = os.openpty()
    drawn = ""
    with os.fdopen(theirs, "w") as stream, show_load(stream) as show:
        show(Progress("reading", 80_000, 12_000_000, 48_000_000, "bytes"))
        while "(25%)" not in drawn or "━" not in drawn:
            drawn += os.read(ours, 100_000).decode(errors="replace")
    os.close(ours)
    assert "reading 12.0 MB of 48.0 MB (25%), 80,000 rows" in drawn


def test_progress_is_a_line_now_and_then_where_there_is_no_terminal() -> None:
    """A log gets a line every few seconds with the stage, the rows and the time; a short load says nothing."""
    stream = io.StringIO()
    with show_load(stream, every=0.02) as show:
        show(Progress("writing", 1234))
        assert until(lambda: re.search(r"^writing 1,234 rows \(\d+ s\)$", stream.getvalue(), re.MULTILINE))
    quiet = io.StringIO()
    with show_load(quiet, every=PATIENCE) as show:
        show(Progress("writing", 1))
    assert quiet.getvalue() == ""
