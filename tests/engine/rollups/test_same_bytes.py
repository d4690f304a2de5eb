"""With rollups and without, a report is the same file, whatever was done to facts and rollups before."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import cycle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cases import thin_out
from tests.engine import sample
from tests.engine.drawn import queries
from tests.engine.rollups.conftest import FIRST, LAST, ROOM, Facts
from tests.engine.sample import MINE
from tests.engine.sample_world import copy_sample
from tests.engine.world import World

from reelport.catalog import Dimension, Family, Grain, Metric, Product
from reelport.engine.duckdb.engine import QueryEngine
from reelport.engine.rollups.build import build_rollups
from reelport.engine.rollups.choice import RollupAggregator, RollupList
from reelport.engine.rollups.columns import groupable_columns, make_rollup
from reelport.facts.rollups import add_rollup
from reelport.facts.tables import TABLES, Kind
from reelport.query import ReportQuery

pytestmark = pytest.mark.long

NEVER = {Family.UPLOADS, Family.LIVE, Family.STORAGE}
"""Families of which some metric is a distinct count or a stock, or whose rows are objects."""
ASKED = [
    (["VIEWS", "TIME_WATCHED_SECONDS"], ["DAY", "CHANNEL_SLUG"], Product.ALL, {}),
    (["VIEWS"], ["MONTH", "VISITOR_COUNTRY"], Product.EMBED, {"mediaType": "video"}),
    (["VIEWS"], [], Product.CONTENT, {}),
]
DAYS = [FIRST + timedelta(days=at) for at in range(2, 6)]
"""Days of the changing facts: of two months."""


@pytest.fixture(scope="module")
def rolled(tmp_path_factory: pytest.TempPathFactory, engine: QueryEngine) -> World:
    """The fixed facts with a rollup of each table by most of its columns: by hour where it has hours."""
    world = copy_sample(tmp_path_factory, engine)
    root = world.snapshot.root
    for table in (table for table in TABLES.values() if table.is_fact):
        left_out = {"visitor_page_url", "visitor_subdomain"}
        grain = Grain.HOUR if table.column(table.time or "").kind is Kind.MOMENT else Grain.DAY
        add_rollup(root, make_rollup(table.name, groupable_columns(table) - left_out, grain))
    assert all(built.problem is None for built in build_rollups(root, space=ROOM))
    return world


def by_rollups(world: World, query: ReportQuery) -> bool:
    """Hold the report from rollups to the one from facts; whether it used any."""
    aggregator = RollupAggregator(RollupList.read(world.snapshot.root))
    assert world.text(query, MINE, aggregator=aggregator) == world.text(query, MINE)
    return aggregator.was_used


def served(family: Family) -> Iterator[Dimension]:
    """The dimensions of a family that its rollup has."""
    never = {Dimension.MINUTE, Dimension.VISITOR_PAGE_URL, Dimension.VISITOR_SUBDOMAIN}
    found = [each for each in Dimension if each in family.dimensions(permissive=True)]
    return (each for each in found if each not in never and not each.many_valued)


@pytest.mark.parametrize(
    ("family", "product"), thin_out(zip(Family, cycle(Product), strict=False), 7, nightly=True), ids=str
)
def test_every_family_is_the_same_from_rollups(rolled: World, family: Family, product: Product) -> None:
    """All its metrics by everything at once, by a few and by nothing: from a rollup where they add up."""
    metrics = [metric for metric in Metric if metric.family is family]
    dimensions = list(served(family))
    for split in (dimensions, []):
        query = ReportQuery.of(metrics, split, sample.START, sample.END, {}, product)
        roles_lack = family in {Family.TRANSCODING, Family.AI} and product in {Product.EMBED, Product.CLAIM}
        assert by_rollups(rolled, query) == (family not in NEVER and not roles_lack)


@settings(max_examples=max(settings().max_examples * 5 // 12, 6))
@given(query=queries())
def test_a_drawn_report_is_the_same_from_rollups(rolled: World, query: ReportQuery) -> None:
    """Families, products, dimensions and days in any combination, distinct counts and tags among them."""
    by_rollups(rolled, query)


RESTATEMENTS = st.one_of(
    st.tuples(st.just("replace"), st.tuples(st.sampled_from(DAYS), st.integers(0, 2))),
    st.tuples(st.just("undo"), st.integers(0, 5)),
)
CHANGES = st.one_of(
    st.tuples(st.just("load"), st.lists(st.sampled_from(DAYS), min_size=1, max_size=2, unique=True)),
    RESTATEMENTS,
    st.tuples(st.sampled_from(["compact", "vacuum"]), st.none()),
    st.tuples(st.just("build"), st.none()),
)


@settings(max_examples=max(settings().max_examples // 12, 2))
@given(
    loads=st.sampled_from([[DAYS], [[day] for day in DAYS]]),
    first=RESTATEMENTS,
    changes=st.lists(CHANGES, min_size=1, max_size=4),
    days=st.sampled_from([(DAYS[0], DAYS[-1]), (DAYS[1], DAYS[2])]),
)
def test_reports_are_the_same_whatever_changed(
    engine: QueryEngine,
    tmp_path_factory: pytest.TempPathFactory,
    loads: list[list[date]],
    first: tuple[str, object],
    changes: list[tuple[str, object]],
    days: tuple[date, date],
) -> None:
    """Loads, replacements, undone loads, merged months, deleted files and builds in any order; old versions too.

    Each begins with days that are gone or others: of a file of their own, whose rows a segment still has, or of one
    that has other days too.
    """
    facts = Facts(tmp_path_factory.mktemp("changed") / "facts", engine)
    for loaded_days in loads:
        facts.load(*loaded_days)
    facts.add("visitor_country")
    facts.build()
    for change, what in (first, *changes):
        apply(facts, change, what)
        facts.pin()
    facts.build()
    facts.pin()
    for snapshot, (metrics, dimensions, product, filters) in zip(reversed(facts.pinned), cycle(ASKED), strict=False):
        facts.report(ReportQuery.of(metrics, dimensions, min(days), max(days), filters, product), snapshot)


def apply(facts: Facts, change: str, what: object) -> None:
    """Do one of the changes."""
    match change, what:
        case "load", list(loaded_days):
            facts.load(*loaded_days)
        case "replace", (date() as first, int(more)):
            span = first, min(first + timedelta(days=more), LAST)
            facts.load(first, span=span)
        case "undo", int(place):
            facts.undo(place)
        case "compact", _:
            facts.compact()
        case "vacuum", _:
            facts.vacuum()
        case _:
            facts.build()


def test_the_folder_is_told_in_one_place(tmp_path: Path) -> None:
    """A tables' root without rollups has none, and reading that makes no folder."""
    assert not RollupList.read(tmp_path)
    assert list(tmp_path.iterdir()) == []
