"""A month's files are cut at owners: small ones to read for a report, and the same rows whatever becomes of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from reelport.engine.rollups.build import build_rollups
from reelport.engine.rollups.choice import RollupList, choose_parts, explain
from reelport.engine.rollups.columns import make_rollup
from reelport.engine.tenant import Tenant
from reelport.facts.loading.compaction import compact
from reelport.facts.loading.load import load_arrow
from reelport.facts.loading.undo import undo
from reelport.facts.loading.vacuum import vacuum
from reelport.facts.loading.verification import verify
from reelport.facts.log.log_entry import DataFile
from reelport.facts.log.snapshot import pin
from reelport.facts.rollups import add_rollup, list_files_by_day, list_segments
from reelport.query import ReportQuery

pytestmark = pytest.mark.long

Ask = Callable[..., list[tuple[object, ...]]]
LATER = date(2023, 9, 1)
DAYS = 4
SMALL, GIANT = [f"c{number:02}" for number in range(40)], "c20"
"""Owners of a month; most of its rows are the giant's."""
BYTES = 900_000
SUMS = "SELECT owner_channel_id, CAST(started_at AS DATE), sum(views), count(*) FROM t GROUP BY ALL ORDER BY ALL"


def rows(count: int, day: int, seed: int) -> pa.Table:
    """Plays of a day, most of them the giant's."""
    draw = np.random.default_rng(seed)
    owners = np.where(draw.random(count) < 0.8, GIANT, np.array(SMALL)[draw.integers(0, len(SMALL), count)])
    begin = int(datetime(2023, 7, day, tzinfo=UTC).timestamp()) * 1_000_000
    moments = begin + draw.integers(0, 86_400_000_000, count)
    return pa.table(
        {
            "started_at": pa.array(moments, pa.timestamp("us", "UTC")),
            "owner_channel_id": pa.array(owners),
            "video_id": pc.cast(pa.array(draw.integers(0, 10**9, count)), pa.string()),
            "media_type": pa.repeat(pa.scalar("video"), count),
            "views": pa.array(draw.integers(1, 99, count)),
            "time_watched_seconds": pa.array(draw.integers(0, 10**6, count)),
        }
    )


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A month of which four days were loaded apart, merged into files of some row groups."""
    root = tmp_path_factory.mktemp("cut") / "facts"
    for day in range(1, DAYS + 1):
        load_arrow(root, "plays", rows(150_000, day, day), f"day-{day}")
    (done,) = compact(root, today=LATER, file_bytes=BYTES)
    assert (done.files, done.rows) == (DAYS, DAYS * 150_000)
    return root


@pytest.fixture
def root(cut: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy for a test that changes it, whose tables end as their records say."""
    root = tmp_path / "data" / "facts"
    shutil.copytree(cut, root)
    yield root
    assert [one.findings for one in verify(root) if one.findings] == []


def list_files(root: Path) -> list[DataFile]:
    """The newest version's files in the order of their owners."""
    return sorted(pin(root, ["plays"]).listing["plays"], key=lambda file: (file.low_owner, file.high_owner))


def test_files_of_a_month_end_where_an_owner_does(cut: Path) -> None:
    """But for an owner of more than twice as many bytes, whose files hold nobody else's rows between."""
    files = list_files(cut)
    assert len(files) > 3
    for one, other in pairwise(files):
        assert str(one.high_owner) < str(other.low_owner) or one.high_owner == other.low_owner == GIANT
    assert all(file.size >= BYTES for file in files[:-1])
    group = max(pq.ParquetFile(cut / "plays" / file.path).metadata.row_group(0).total_byte_size for file in files)
    assert max(file.size for file in files) < 2 * BYTES + 2 * group


def test_every_file_is_sorted(cut: Path) -> None:
    """And so are the rows of the giant over its files: each begins no earlier than the one before it ended."""
    for file in list_files(cut):
        found = pq.read_table(cut / "plays" / file.path, columns=["owner_channel_id", "started_at"])
        keys = [("owner_channel_id", "ascending"), ("started_at", "ascending")]
        assert pc.sort_indices(found, sort_keys=keys).equals(pa.array(range(found.num_rows), pa.uint64()))
    spans = []
    for file in list_files(cut):
        found = pq.read_table(cut / "plays" / file.path, columns=["owner_channel_id", "started_at"])
        own = found.filter(pc.equal(found["owner_channel_id"], GIANT))["started_at"]
        if len(own):
            spans.append((own[0].as_py(), own[-1].as_py()))
    assert len(spans) > 1
    assert all(one[1] <= other[0] for one, other in pairwise(sorted(spans)))


def test_a_merged_month_is_not_merged_again(root: Path) -> None:
    """Until a day comes that lies across its files."""
    before = list_files(root)
    assert compact(root, today=LATER, file_bytes=BYTES) == ()
    load_arrow(root, "plays", rows(1_000, 9, 9), "late")
    (done,) = compact(root, today=LATER, file_bytes=BYTES)
    assert done.files == len(before) + 1
    assert compact(root, today=LATER, file_bytes=BYTES) == ()


def test_an_owner_reads_the_files_with_its_rows_alone(cut: Path) -> None:
    """One file for a small owner, several for the giant; together they hold all of its rows."""
    snapshot = pin(cut, ["plays"])
    whole = pq.ParquetDataset(list(snapshot.files("plays"))).read(["owner_channel_id"])["owner_channel_id"]
    for owner, most in ((SMALL[0], 1), (SMALL[-1], 1), (GIANT, len(list_files(cut)) - 1)):
        paths = snapshot.files("plays", channels=frozenset({owner}))
        assert 0 < len(paths) <= most
        held = sum(pc.sum(pc.equal(pq.read_table(path)["owner_channel_id"], owner)).as_py() or 0 for path in paths)
        assert held == pc.sum(pc.equal(whole, owner)).as_py()


def test_a_day_within_is_restated_and_undone(root: Path, ask: Ask) -> None:
    """Each of the month's files is written without it; the load that is undone gives the day back."""
    before, size = ask("plays", SUMS), len(list_files(root))
    day = date(2023, 7, 2)
    new = load_arrow(root, "plays", rows(5_000, 2, 77), "again", replace=(day, day))
    restated = ask("plays", SUMS)
    assert [row for row in restated if row[1] != day] == [row for row in before if row[1] != day]
    assert sum(int(str(row[3])) for row in restated if row[1] == day) == 5_000
    compact(root, today=LATER, file_bytes=BYTES)
    assert ask("plays", SUMS) == restated
    undo(root, new.batch)
    assert ask("plays", SUMS) == before
    compact(root, today=LATER, file_bytes=BYTES)
    assert vacuum(root, now=datetime.now(UTC) + timedelta(hours=73))[0].files > size
    assert ask("plays", SUMS) == before


def test_rollups_stay_right_for_the_files_that_a_day_lies_in(root: Path) -> None:
    """A merge into other files hands them on; a restated day sends back the days of the files written anew."""
    rollup = make_rollup("plays", [])
    add_rollup(root, rollup)
    build_rollups(root, [rollup], space=10**9)

    def valid() -> set[date]:
        by_day = list_files_by_day(pin(root, ["plays"]).listing["plays"])
        return {day for _, days in choose_parts(list_segments(root, rollup), by_day) for day in days}

    days = {date(2023, 7, day) for day in range(1, DAYS + 1)}
    assert valid() == days
    load_arrow(root, "plays", rows(1_000, 9, 9), "late")
    compact(root, today=LATER, file_bytes=BYTES)
    assert days <= valid()
    assert date(2023, 7, 9) not in valid()
    load_arrow(root, "plays", rows(1_000, 3, 5), "restated", replace=(date(2023, 7, 3), date(2023, 7, 3)))
    assert valid().isdisjoint(days)


def test_a_rollup_is_weighed_by_the_owners_that_a_report_reads(root: Path) -> None:
    """A report reads its own owners' rows of a rollup as of the facts: the rows of others don't count against it."""
    rollup = make_rollup("plays", ["video_id"])
    add_rollup(root, rollup)
    build_rollups(root, [rollup], space=10**9)
    query = ReportQuery.of(["VIEWS"], ["DAY", "VIDEO_ID"], date(2023, 7, 1), date(2023, 7, DAYS))
    (choice,) = explain(query, Tenant(frozenset({SMALL[0]})), pin(root, ["plays"]), RollupList.read(root))
    assert choice.fact_rows < 150_000
    assert choice.reading is not None
    assert choice.reading.rows <= choice.fact_rows
