"""Dense facts are summed by day and id before ids are looked up: the same report, by fewer rows to look up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.drawn import queries

from reelport.catalog import Dimension
from reelport.engine.compile import compile_query
from reelport.engine.density import find_dense_tables
from reelport.engine.tenant import Tenant
from reelport.facts.log.data_file import DataFile
from reelport.facts.log.snapshot import Snapshot
from reelport.facts.tables import TABLES
from reelport.query import ReportQuery

from .sample import MINE
from .world import World

FIRST, LAST = date(2023, 6, 1), date(2023, 6, 30)
TITLE = (Dimension.DAY, Dimension.VIDEO_TITLE)


def said_dense(snapshot: Snapshot) -> Snapshot:
    """The same files, said to hold a thousand times their rows of facts."""
    listing = {
        name: tuple(replace(file, rows=file.rows * 1000) if TABLES[name].is_fact else file for file in files)
        for name, files in snapshot.listing.items()
    }
    return replace(snapshot, listing=listing)


def sums_of(snapshot: Snapshot, *dimensions: str) -> int:
    """How often the report's statement sums views."""
    query = ReportQuery.of(["VIEWS"], dimensions, FIRST, LAST)
    return compile_query(query, Tenant(MINE), snapshot).sql.count("SUM(")


@pytest.mark.parametrize("dimensions", [("DAY", "VIDEO_TITLE"), ("CONTENT_TAG_LIST", "MONTH", "VIDEO_TITLE")])
def test_dense_facts_are_summed_before_ids_are_looked_up(world: World, dimensions: Sequence[str]) -> None:
    assert sums_of(world.snapshot, *dimensions) == 1
    assert sums_of(said_dense(world.snapshot), *dimensions) == 2


@pytest.mark.parametrize(
    "dimensions", [("HOUR", "VIDEO_TITLE"), ("VISITOR_COUNTRY", "VIDEO_TITLE"), ("PLAYLIST_TITLE", "VIDEO_TITLE")]
)
def test_facts_of_a_day_and_id_that_stay_apart_are_summed_once(world: World, dimensions: Sequence[str]) -> None:
    """A row may then be a group of its own, however dense facts are by day and id."""
    assert sums_of(said_dense(world.snapshot), *dimensions) == 1


@settings(deadline=None)
@given(query=queries(), titled=st.booleans())
def test_a_report_is_the_same_from_dense_facts(world: World, query: ReportQuery, titled: bool) -> None:
    """Whatever is asked for, and most of all by day and title."""
    if titled and all(name in query.dimensions or len(query.dimensions) < 2 for name in ("DAY", "VIDEO_TITLE")):
        query = replace(query, dimensions=("DAY", "VIDEO_TITLE"))
    dense = replace(world, snapshot=said_dense(world.snapshot))
    assert dense.text(query, MINE) == world.text(query, MINE)


def pinned(plays: Sequence[DataFile], videos: int) -> Snapshot:
    """A snapshot of these files of plays, and of so many videos."""
    return Snapshot(Path(), {}, {"plays": tuple(plays), "videos": (DataFile("videos", 0, videos),)})


def plays(rows: int, first: date, last: date) -> DataFile:
    """A file of plays of these days."""
    start, end = (datetime(day.year, day.month, day.day, 12, tzinfo=UTC) for day in (first, last))
    return DataFile(f"{first}-{last}-{rows}", 0, rows, f"{first:%Y-%m}", start, end)


@pytest.mark.parametrize("rows", [240_000, 239_999])
def test_facts_are_dense_from_eight_rows_a_day_and_object(rows: int) -> None:
    """On an average day of all that are loaded."""
    snapshot = pinned([plays(rows, FIRST, LAST)], 1000)
    assert find_dense_tables(TITLE, snapshot) == (frozenset({"plays"}) if rows == 240_000 else frozenset())


def test_files_of_one_day_add_up() -> None:
    """Half of a day's rows are in each of them."""
    snapshot = pinned([plays(4_000, FIRST, FIRST), plays(4_001, FIRST, FIRST)], 1000)
    assert find_dense_tables(TITLE, snapshot) == {"plays"}


def test_days_without_facts_count_too() -> None:
    """As do those at both ends: a month of facts in two days is as dense as one in which each day has its share."""
    files = [plays(120_000, FIRST, FIRST), plays(120_000, LAST, LAST)]
    assert find_dense_tables(TITLE, pinned(files, 1000)) == {"plays"}
    assert not find_dense_tables(TITLE, pinned([*files, plays(1, LAST, LAST + timedelta(days=1))], 1000))


def test_without_many_objects_nothing_is_dense() -> None:
    """Channels are few, and a table without a video has none to look up."""
    snapshot = pinned([plays(10**6, FIRST, FIRST)], 1000)
    by_slug = (Dimension.DAY, Dimension.VIDEO_OWNER_CHANNEL_SLUG)
    assert not find_dense_tables(by_slug, snapshot)
    assert not find_dense_tables(TITLE, pinned([plays(10**6, FIRST, FIRST)], 0))
