"""Which days are read from a rollup: those that were built from exactly the pinned version's files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from tests.cases import thin_out
from tests.disks import small_disk
from tests.engine.rollups.conftest import FIRST, LAST, ROOM, Facts, play

from reelport.catalog import Grain, Product
from reelport.engine.duckdb.engine import QueryEngine
from reelport.engine.rollups.build import build_rollups
from reelport.engine.rollups.choice import (
    RollupAggregator,
    describe_use,
    list_stored,
    summarize_refusals,
    summarize_uses,
)
from reelport.engine.rollups.columns import identity_of, make_rollup
from reelport.engine.tenant import EveryChannel, Tenant
from reelport.errors import StorageError, UsageError
from reelport.facts.loading.compaction import copy_tables_by_roles
from reelport.facts.loading.load import load_arrow
from reelport.facts.log.role_copies import LEAST_ROWS
from reelport.facts.rollups import Rollup, drop_rollup, list_files_by_day, list_rollups, list_segments
from reelport.query import ReportQuery

pytestmark = pytest.mark.long

DAYS = [FIRST + timedelta(days=at) for at in range((LAST - FIRST).days + 1)]
BY_DAY = ReportQuery.of(["VIEWS"], ["DAY", "VISITOR_COUNTRY"], FIRST, LAST, {}, Product.ALL)


def days_read(aggregator: RollupAggregator) -> set[date]:
    """The days that were read from rollups."""
    readings = [choice.reading for choice in aggregator.choices if choice.reading is not None]
    return {day for reading in readings for day in reading.days}


@pytest.fixture(scope="module")
def _built(tmp_path_factory: pytest.TempPathFactory, engine: QueryEngine) -> Facts:
    facts = Facts(tmp_path_factory.mktemp("built") / "facts", engine)
    facts.load(*DAYS)
    facts.load(*DAYS)
    facts.add("visitor_country")
    facts.build()
    return facts


@pytest.fixture
def built(_built: Facts, tmp_path: Path) -> Facts:
    """Every day loaded twice, and built: a copy of its own for each test."""
    shutil.copytree(_built.root, tmp_path / "facts")
    return replace(_built, root=tmp_path / "facts", pinned=[])


def test_every_built_day_is_read_from_the_rollup(built: Facts) -> None:
    """Two months, in pieces or not."""
    _, aggregator = built.report(BY_DAY)
    assert days_read(aggregator) == set(DAYS)
    assert summarize_refusals(aggregator.choices) == []
    (name,) = {rollup.name for rollup in list_rollups(built.root)}
    assert summarize_uses(aggregator.choices) == [f"plays from {name}: 8 of 8 days"]


def test_a_changed_day_is_read_from_the_facts_until_it_is_built_anew(built: Facts) -> None:
    """A load, a replacement and an undo each change one day's files, and that day alone."""
    built.load(DAYS[1])
    assert days_read(built.report(BY_DAY)[1]) == set(DAYS) - {DAYS[1]}
    built.load(DAYS[6], span=(DAYS[6], DAYS[6]))
    assert days_read(built.report(BY_DAY)[1]) == set(DAYS) - {DAYS[1], DAYS[6]}
    assert [month.days for month in built.build()] == [4, 4]
    assert days_read(built.report(BY_DAY)[1]) == set(DAYS)
    built.undo(2)
    assert days_read(built.report(BY_DAY)[1]) == set(DAYS) - {DAYS[1]}


def test_a_pinned_version_reads_days_that_are_its_own(built: Facts) -> None:
    """A version of before a load reads the day that the load has changed since; the new one doesn't."""
    before = built.pin()
    built.load(DAYS[0])
    assert days_read(built.report(BY_DAY, before)[1]) == set(DAYS)
    built.build()
    assert days_read(built.report(BY_DAY, before)[1]) == set(DAYS) - {DAYS[0]}
    assert days_read(built.report(BY_DAY)[1]) == set(DAYS)


def test_merged_months_keep_their_rollups(built: Facts) -> None:
    """A compaction changes every file and no row: nothing is built anew, before it and after it days are read."""
    before = built.pin()
    assert len(built.compact()) == 2
    assert days_read(built.report(BY_DAY)[1]) == days_read(built.report(BY_DAY, before)[1]) == set(DAYS)
    assert built.build() == ()
    built.vacuum()
    assert days_read(built.report(BY_DAY)[1]) == set(DAYS)


def test_days_without_rows_in_a_merged_month_need_no_facts(facts: Facts) -> None:
    """The merged file spans days that no file did: they are empty, and read from the rollup as such."""
    facts.load(DAYS[0], DAYS[2])
    facts.add("visitor_country")
    facts.build()
    facts.compact()
    _, aggregator = facts.report(BY_DAY)
    assert next(choice.reading and choice.reading.other_days for choice in aggregator.choices) == frozenset()
    assert days_read(aggregator) == {DAYS[0], DAYS[1], DAYS[2]}


def test_a_day_changed_before_the_merge_stays_unread_after_it(built: Facts) -> None:
    """Only what was right before is right after; the changed day's facts lie in the file of its whole month then.

    A report of that month reads them all anyhow, and nothing else: one of both months reads the other one's rollup.
    """
    built.load(DAYS[1])
    built.compact()
    _, aggregator = built.report(BY_DAY)
    assert days_read(aggregator) == {day for day in DAYS if day.month == LAST.month}
    (rollup,) = list_rollups(built.root)
    newest = list_files_by_day(built.pin().listing["plays"])
    valid = frozenset().union(*(segment.valid_days(newest) for segment in list_segments(built.root, rollup)))
    assert valid == set(DAYS) - {DAYS[1]}


@pytest.mark.parametrize(
    ("metrics", "dimensions", "filters", "reason"),
    thin_out(
        [
            (["LIVE_VIEWERS"], ["DAY"], {}, "LIVE_VIEWERS is a distinct count, which does not add up"),
            (["VIEWS"], ["CONTENT_TAG"], {}, "CONTENT_TAG puts one fact into several rows"),
            (["VIEWS"], ["MINUTE"], {}, "MINUTE is finer than the hours of any rollup"),
            (["VIEWS"], ["HOUR"], {}, "it has days and no hours"),
            (["VIEWS"], ["VIDEO_ID"], {}, "it has no video_id"),
            (["VIEWS"], ["PLAYLIST_TITLE"], {}, "it has no playlist_id"),
        ],
        3,
        nightly=True,
    ),
)
def test_a_report_that_a_rollup_can_not_give_says_why(
    built: Facts, metrics: list[str], dimensions: list[str], filters: dict[str, str], reason: str
) -> None:
    """Each reason names what stands against it, and the report is made from the facts."""
    query = ReportQuery.of(metrics, dimensions, FIRST, LAST, filters, Product.CONTENT)
    _, aggregator = built.report(query)
    assert not aggregator.was_used
    assert {why for choice in aggregator.choices for why in choice.refused.values()} == {reason}
    assert all(describe_use(choice).startswith("the facts: ") for choice in aggregator.choices)


def test_days_that_are_not_built_say_so(facts: Facts) -> None:
    """A rollup that was never built, and one of other files."""
    facts.load(*DAYS)
    facts.add("visitor_country")
    _, aggregator = facts.report(BY_DAY)
    assert {why for choice in aggregator.choices for why in choice.refused.values()} == {
        "none of these days is built: build it"
    }
    facts.build()
    facts.load(*DAYS)
    _, aggregator = facts.report(BY_DAY)
    assert {why for choice in aggregator.choices for why in choice.refused.values()} == {
        "its days were built from other files: build it"
    }


def test_a_rollup_of_another_table_is_not_looked_at(built: Facts) -> None:
    """It neither serves nor is refused."""
    others = {built.add("visitor_country", table=table).name for table in ("ads", "usage")}
    _, aggregator = built.report(BY_DAY)
    assert days_read(aggregator) == set(DAYS)
    assert not others.intersection(*(choice.refused for choice in aggregator.choices))


def test_a_report_of_days_without_facts_says_so(built: Facts) -> None:
    """There is nothing to build for them."""
    later = replace(BY_DAY, start=LAST + timedelta(days=1), end=LAST + timedelta(days=9))
    _, aggregator = built.report(later)
    assert {why for choice in aggregator.choices for why in choice.refused.values()} == {
        "there are no facts of these days"
    }


def test_hours_serve_days_and_the_smallest_rollup_is_read(built: Facts) -> None:
    """A rollup by hour serves reports by hour, one by fewer rows those by day."""
    by_hour = built.add("visitor_country", "video_id", grain=Grain.HOUR)
    built.build()
    hours = ReportQuery.of(["VIEWS"], ["HOUR"], FIRST, LAST, {}, Product.ALL)
    _, aggregator = built.report(hours)
    assert {choice.reading and choice.reading.rollup for choice in aggregator.choices} == {by_hour}
    _, aggregator = built.report(BY_DAY)
    assert by_hour not in {choice.reading and choice.reading.rollup for choice in aggregator.choices}
    assert any(by_hour.name in reason for reason in summarize_refusals(aggregator.choices))


def test_copies_by_role_are_counted_by_what_is_read_of_them(facts: Facts) -> None:
    """An EMBED report reads a copy where that has fewer rows for its channels than the rollup, and else the rollup."""
    morning = {"started_at": datetime(2026, 1, 28, 5, tzinfo=UTC)}
    rows = [play(FIRST, number, morning | {"video_id": f"x{number}"}) for number in range(LEAST_ROWS)]
    load_arrow(facts.root, "plays", pa.Table.from_pylist(rows), "first")
    few, many = facts.add("visitor_country"), facts.add("video_id")
    facts.build()
    by_country = replace(BY_DAY, product=Product.EMBED.name)
    by_video = replace(by_country, dimensions=("DAY", "VIDEO_ID"))

    def read(query: ReportQuery, *channels: str) -> set[Rollup]:
        _, aggregator = facts.report(query, tenant=Tenant(frozenset(channels)))
        return {choice.reading.rollup for choice in aggregator.choices if choice.reading}

    assert (read(by_country, "c1"), read(by_video, "c1")) == ({few}, {many})
    copy_tables_by_roles(facts.root)
    assert (read(by_country, "c1"), read(by_video, "c1")) == ({few}, set())
    _, aggregator = facts.report(by_video)
    assert any("to read: the facts need" in reason for reason in summarize_refusals(aggregator.choices))
    assert read(replace(by_video, product=Product.ALL.name), "c1") == {many}


def test_the_platform_is_summed_from_rollups(built: Facts) -> None:
    """The numbers of every channel are the same from rollups as from the facts."""
    text, aggregator = built.report(BY_DAY, tenant=EveryChannel(frozenset()))
    assert days_read(aggregator) == set(DAYS)
    assert text != built.report(BY_DAY)[0]


def test_rollups_of_another_version_are_built_anew(built: Facts) -> None:
    """What was built by other SQL is not read, and the next build replaces it."""
    (rollup,) = list_rollups(built.root)
    for segment in list_segments(built.root, rollup):
        record = json.loads(segment.manifest.read_text())
        segment.manifest.write_text(json.dumps(record | {"identity": "of another version"}))
    assert not built.report(BY_DAY)[1].was_used
    assert len(built.build()) == 2
    assert days_read(built.report(BY_DAY)[1]) == set(DAYS)
    assert {segment.identity for segment in list_segments(built.root, rollup)} == {identity_of(rollup)}


def test_damaged_manifests_are_as_absent(built: Facts) -> None:
    """Cut short, empty or no JSON at all: their days are read from the facts, and built anew."""
    (rollup,) = list_rollups(built.root)
    for segment, text in zip(list_segments(built.root, rollup), ('{"days": {"2026', "[]"), strict=True):
        segment.manifest.write_text(text)
    assert not built.report(BY_DAY)[1].was_used
    assert len(built.build()) == 2
    assert built.report(BY_DAY)[1].was_used


def test_dropped_rollups_leave_nothing(built: Facts) -> None:
    """Their folder goes too, and reports stay the same."""
    (rollup,) = list_rollups(built.root)
    drop_rollup(built.root, rollup)
    assert not rollup.folder(built.root).exists()
    assert not built.report(BY_DAY)[1].was_used


def test_what_takes_too_much_room_is_not_built(facts: Facts) -> None:
    """The newest month is built first; what would exceed the space is told, and leaves no file."""
    facts.load(*DAYS)
    rollup = facts.add("visitor_country")
    facts.build()
    sizes = [segment.data.stat().st_size for segment in list_segments(facts.root, rollup)]
    drop_rollup(facts.root, rollup)
    facts.add("visitor_country")
    newest, older = facts.build(space=max(sizes))
    assert (newest.month, newest.problem) == ("2026-02", None)
    assert (older.month, older.days) == ("2026-01", 0)
    assert older.problem is not None
    assert len(list(rollup.folder(facts.root).glob("*.parquet"))) == 1
    (stored,) = list_stored(facts.root)
    assert (stored.valid_days, stored.all_days) == (4, 8)


def test_a_sum_that_no_column_holds_leaves_its_month_out(facts: Facts) -> None:
    """Counts whose sum has more than 64 bits: reports of that month are made from the facts, and are right."""
    alike = {"owner_channel_id": "c1", "publisher_channel_id": None, "media_type": "video", "visitor_country": "FR"}
    facts.load(DAYS[0], like={"views": 2**62, "watchable_seconds": None, **alike})
    facts.load(DAYS[-1])
    facts.add("visitor_country")
    assert [month.problem is None for month in facts.build()] == [True, False]
    text, aggregator = facts.report(BY_DAY)
    assert str(5 * 2**62) in text
    assert days_read(aggregator) == {DAYS[-1]}


def test_two_builds_at_once_agree(built: Facts) -> None:
    """Each leaves what is right, and the next build makes one of both."""
    built.load(DAYS[0])
    (rollup,) = list_rollups(built.root)
    before = {segment.manifest: segment.manifest.read_bytes() for segment in list_segments(built.root, rollup)}
    built.build()
    for manifest, text in before.items():  # as if another build had written them after ours
        manifest.write_bytes(text)
    assert days_read(built.report(BY_DAY)[1]) == set(DAYS)
    assert build_rollups(built.root, space=ROOM) == ()


@pytest.mark.parametrize(
    "damage",
    thin_out([Path.unlink, lambda path: path.write_bytes(b"no Parquet")], 2, nightly=True),
    ids=["gone", "damaged"],
)
def test_a_build_does_not_stop_at_a_segment_that_can_not_be_read(
    built: Facts, damage: Callable[[Path], object]
) -> None:
    """No report has read it yet, which would have let it be forgotten: its month is built from the facts alone."""
    (rollup,) = list_rollups(built.root)
    for segment in list_segments(built.root, rollup):
        damage(segment.data)
    built.load(DAYS[0])
    built.load(DAYS[-1])
    assert [(month.problem, month.days) for month in built.build()] == [(None, 4), (None, 4)]
    assert days_read(built.report(BY_DAY)[1]) == set(DAYS)


def test_a_wrong_definition_tells_all_that_is_wrong() -> None:
    """Unknown columns, measures and times are no columns to group by; a table of objects has no rollup."""
    with pytest.raises(UsageError) as refused:
        make_rollup("earnings", ["colour", "eur", "day", "video_id"], Grain.HOUR)
    assert str(refused.value).splitlines() == [
        "earnings has days and no hours",
        "earnings has no column 'colour' to group by",
        "earnings has no column 'day' to group by",
        "earnings has no column 'eur' to group by",
    ]
    with pytest.raises(UsageError, match="videos has no facts to sum"):
        make_rollup("videos", ["title"])


def test_a_full_disk_leaves_no_half_rollup(tmp_path: Path, engine: QueryEngine) -> None:
    """The build says so; what was valid stays, and once there is room the rest is built."""
    with small_disk(tmp_path / "disk", "4m") as disk:
        facts = Facts(disk / "facts", engine)
        facts.load(*DAYS)
        facts.add("visitor_country")
        facts.build()
        facts.load(DAYS[0])
        filler = disk / "filler"
        fill(filler)
        with pytest.raises(StorageError, match="disk is full"):
            facts.build()
        filler.unlink()
        assert days_read(facts.report(BY_DAY)[1]) == set(DAYS) - {DAYS[0]}
        assert len(facts.build()) == 1
        assert days_read(facts.report(BY_DAY)[1]) == set(DAYS)


def fill(path: Path) -> None:
    """Take all room that a disk has."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
