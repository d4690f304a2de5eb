"""Dense facts are summed by day and id before ids are looked up: the same report, by fewer rows to look up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.drawn import queries

from reelport.catalog import Metric
from reelport.engine.compile import compile_query
from reelport.engine.density import find_dense_tables
from reelport.engine.tenant import Tenant
from reelport.facts.log.data_file import DataFile
from reelport.facts.log.snapshot import Snapshot
from reelport.query import ReportQuery

from .aggregators import Elsewhere
from .sample import MINE
from .world import FACTS, World, said_dense

FIRST, LAST = date(2023, 6, 1), date(2023, 6, 30)
TITLE = ("DAY", "VIDEO_TITLE")
REPEATED = [
    TITLE,
    ("VIDEO_TITLE", "MONTH"),
    ("CONTENT_TAG_LIST", "DAY", "VIDEO_TITLE"),
    ("CONTENT_TAG", "DAY"),
    ("DAY", "CONTENT_TAG_LIST"),
]
"""Dimensions of which all rows of a day and a video are one row of the report, or one each of its tags."""


TITLED = [
    metric
    for metric in Metric
    if {"VIDEO_TITLE", "CONTENT_TAG"} <= {each.name for each in metric.family.dimensions(permissive=True)}
]
"""Metrics that can be told by title and by tag."""


def sums_of(snapshot: Snapshot, metrics: Sequence[str], *dimensions: str, ordered: bool = True) -> int:
    """How many sums the report's statement has."""
    query = ReportQuery.of(metrics, dimensions, FIRST, LAST)
    return compile_query(query, Tenant(MINE), snapshot, ordered=ordered).sql.count("SUM(")


@pytest.mark.parametrize("dimensions", [each for each in REPEATED if "CONTENT_TAG" not in each])
def test_dense_facts_are_summed_before_ids_are_looked_up(world: World, dimensions: Sequence[str]) -> None:
    assert sums_of(world.snapshot, ["VIEWS"], *dimensions) == 1
    assert sums_of(said_dense(world.snapshot), ["VIEWS"], *dimensions) == 2


@pytest.mark.parametrize(
    "dimensions",
    [
        ("HOUR", "VIDEO_TITLE"),
        ("VISITOR_COUNTRY", "VIDEO_TITLE"),
        ("PLAYLIST_TITLE", "VIDEO_TITLE"),
        ("DAY", "MONTH", "VIDEO_TITLE", "CONTENT_TAG_LIST"),
    ],
)
def test_facts_of_a_day_and_id_that_may_stay_apart_are_summed_once(world: World, dimensions: Sequence[str]) -> None:
    """A row may then be a group of its own, however dense facts are by day and id; and so with many dimensions."""
    assert sums_of(said_dense(world.snapshot), ["VIEWS"], *dimensions) == 1


def test_each_table_is_summed_by_its_own_density(world: World) -> None:
    """Of two families of facts in one report one may be dense."""
    metrics = ["VIEWS", "ESTIMATED_EARNINGS_EUR"]
    once = sums_of(world.snapshot, metrics, *TITLE)
    assert sums_of(said_dense(world.snapshot, {"plays"}), metrics, *TITLE) == once + 1
    assert sums_of(said_dense(world.snapshot, {"plays", "earnings"}), metrics, *TITLE) == once + 2


def test_rows_of_which_some_are_kept_are_summed_once(world: World) -> None:
    """Views keep the rows of a title: the engine then looks up that one, and sums its facts alone."""
    assert sums_of(said_dense(world.snapshot), ["VIEWS"], *TITLE, ordered=False) == 1


@settings(deadline=None)
@given(
    query=queries(TITLED),
    dimensions=st.sampled_from(REPEATED),
    tables=st.sets(st.sampled_from(sorted(FACTS))),
    elsewhere=st.booleans(),
)
def test_a_report_is_the_same_from_dense_facts(
    world: World, query: ReportQuery, dimensions: tuple[str, ...], tables: set[str], elsewhere: bool
) -> None:
    """Whatever is asked for by day and title, and whichever tables are dense; by template as from the tree."""
    query = replace(query, dimensions=dimensions)
    aggregator = Elsewhere() if elsewhere else None
    dense = replace(world, snapshot=said_dense(world.snapshot, tables | {"plays"}))
    assert dense.text(query, MINE, aggregator=aggregator) == world.text(query, MINE)


def pinned(plays: Sequence[DataFile], videos: int) -> Snapshot:
    """A snapshot of these files of plays, of so many videos, and of one channel."""
    objects = {name: (DataFile(name, 0, rows),) for name, rows in (("videos", videos), ("channels", 1))}
    return Snapshot(Path(), {}, {"plays": tuple(plays), **objects})


def plays(rows: int, first: date, last: date) -> DataFile:
    """A file of plays of these days."""
    start, end = (datetime(day.year, day.month, day.day, 12, tzinfo=UTC) for day in (first, last))
    return DataFile(f"{first}-{last}-{rows}", 0, rows, f"{first:%Y-%m}", start, end)


@pytest.mark.parametrize("rows", [360_000, 359_999])
def test_facts_are_dense_from_twelve_rows_a_day_and_object(rows: int) -> None:
    """On an average day of all that are loaded."""
    snapshot = pinned([plays(rows, FIRST, LAST)], 1000)
    assert find_dense_tables(TITLE, snapshot) == (frozenset({"plays"}) if rows == 360_000 else frozenset())


def test_files_of_one_day_add_up() -> None:
    """Half of a day's rows are in each of them."""
    snapshot = pinned([plays(6_000, FIRST, FIRST), plays(6_001, FIRST, FIRST)], 1000)
    assert find_dense_tables(TITLE, snapshot) == {"plays"}


@pytest.mark.parametrize("later_first", [True, False])
def test_days_without_facts_count_too(later_first: bool) -> None:
    """A month of facts in two days is as dense as one in which each day has its share, in whatever order they lie."""
    files = [plays(180_000, FIRST, FIRST), plays(180_000, LAST, LAST)]
    files = files[::-1] if later_first else files
    assert find_dense_tables(TITLE, pinned(files, 1000)) == {"plays"}
    assert not find_dense_tables(TITLE, pinned([*files, plays(1, LAST, date(2023, 7, 1))], 1000))


def test_a_fact_of_years_ago_counts_as_its_month() -> None:
    """One row with a wrong clock would else make all facts thin."""
    stray = plays(1, date(2015, 1, 1), date(2015, 1, 1))
    assert find_dense_tables(TITLE, pinned([plays(800_000, FIRST, LAST), stray], 1000)) == {"plays"}


def test_a_file_that_does_not_tell_its_days_counts_for_nothing() -> None:
    untold = DataFile("untold", 0, 10**9)
    assert not find_dense_tables(TITLE, pinned([untold, plays(1, FIRST, FIRST)], 1000))
    assert find_dense_tables(TITLE, pinned([untold, plays(12_000, FIRST, FIRST)], 1000)) == {"plays"}


def test_without_many_objects_nothing_is_dense() -> None:
    """Channels are few, and a table without a video has none to look up."""
    snapshot = pinned([plays(10**6, FIRST, FIRST)], 1000)
    assert not find_dense_tables(("DAY", "VIDEO_OWNER_CHANNEL_SLUG"), snapshot)
    assert not find_dense_tables(TITLE, pinned([plays(10**6, FIRST, FIRST)], 0))
