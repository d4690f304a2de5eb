"""A report that is made in pieces is, byte for byte, the one that is made at once; few rows are cut once at most."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from itertools import cycle
from pathlib import Path

import pytest
from tests.cases import thin_out
from tests.disks import limit_file_size

from reelport.catalog import Dimension, Family, Metric, Product
from reelport.check import Rules, problems
from reelport.engine.compile import compile_query, plan_pieces
from reelport.engine.tenant import Tenant
from reelport.errors import StorageError
from reelport.facts.log.log_entry import DataFile
from reelport.facts.log.snapshot import Snapshot
from reelport.facts.tables import TABLES
from reelport.query import ReportQuery

from . import sample
from .sample import END, MINE, START
from .world import World

pytestmark = pytest.mark.long

ONCE = 10**9
EVERYTHING = Rules(permissive=True, dimensions=len(Dimension))
TIMES = [dimension for dimension in Dimension if dimension.grain is not None]
YEAR = ReportQuery.of(["VIEWS"], ["DAY", "VIDEO_ID"], date(2022, 11, 15), date(2023, 10, 20))
EMPTY = Snapshot(Path("/nowhere"), dict.fromkeys(TABLES, 0), dict.fromkeys(TABLES, ()))
READER = Tenant(MINE)


@pytest.mark.parametrize(
    ("family", "product"), thin_out(zip(Family, cycle(Product), strict=False), 7, nightly=True), ids=str
)
def test_a_report_by_time_is_the_same_however_it_was_made(world: World, family: Family, product: Product) -> None:
    """All of a family's metrics by each grain of time that it has, and by all its other dimensions: cut or not."""
    metrics = [metric for metric in Metric if metric.family is family]
    others = family.dimensions(permissive=True) - {*TIMES, Dimension.CONTENT_TAG}
    compared = 0
    for time in TIMES:
        for dimensions in ([time], [time, *sorted(others, key=str)]):
            query = ReportQuery.of(metrics, dimensions, START, END, {}, product)
            if not problems(query, today=sample.LAST, rules=EVERYTHING):
                compared += 1
                assert world.text(query, MINE) == world.text(query, MINE, worth=ONCE)
    assert compared or not any(time in family.dimensions(permissive=True) for time in TIMES)


def asked(query: ReportQuery, rows: Iterator[int], *, size: int) -> int:
    """How many pieces a report is made of whose pieces have so many rows."""
    plans = plan_pieces(query, READER, EMPTY, worth=0, size=size)
    count, _ = 1, next(plans)
    for given in rows:
        try:
            plans.send(given)
        except StopIteration:
            return count
        count += 1
    raise AssertionError("pieces without end")


def test_a_report_with_many_rows_is_cut_by_months() -> None:
    """A month with as many rows as a piece should have is followed by the next month: twelve of them here."""
    assert asked(YEAR, iter([500_000] * 99), size=500_000) == 12


def test_a_report_with_few_rows_is_cut_once() -> None:
    """A first month of few rows is followed by all the rest."""
    assert asked(YEAR, iter([20_000] * 99), size=500_000) == 2


def test_months_without_rows_say_nothing_of_the_next() -> None:
    """Before the first row, and after a piece that had none, each month is made alone: much may come at any."""
    assert asked(YEAR, iter([0] * 99), size=500_000) == 12
    assert asked(YEAR, iter([0, 0, *[500_000] * 99]), size=500_000) == 12
    assert asked(YEAR, iter([0, 0, *[20_000] * 99]), size=500_000) == 4


def test_a_report_that_begins_with_empty_months_has_one_header(world: World) -> None:
    """Two months before the facts, all of them after the first, and none at all: the same bytes, cut or not."""
    for start, end in (
        (date(2023, 4, 10), END),
        (date(2023, 6, 30), date(2023, 9, 1)),
        (date(2022, 1, 1), date(2022, 5, 1)),
    ):
        query = ReportQuery.of(["VIEWS", "UPLOADS"], ["DAY", "VIDEO_ID", "VIDEO_TITLE"], start, end, {}, Product.ALL)
        text = world.text(query, MINE)
        assert text == world.text(query, MINE, worth=ONCE)
        assert text.count("day,video_id") == 1


def test_a_piece_has_as_many_months_as_give_its_rows() -> None:
    """After half a month of 100,000 rows come two months at a time, as long as they have 400,000: 1 + 5 x 2 + 1."""
    assert asked(YEAR, iter([100_000, *[400_000] * 99]), size=500_000) == 7


def test_a_first_day_is_not_taken_for_a_month() -> None:
    """A report that begins on the last of a month is cut no less: 17,000 rows of one day speak of 500,000 a month."""
    late = replace(YEAR, start=date(2022, 11, 30))
    assert asked(late, iter([17_000, *[500_000] * 99]), size=500_000) == 12


def test_few_facts_are_not_cut_at_all() -> None:
    """Where all facts of the days together are few, whoever they belong to, the report is made at once."""
    files = (DataFile("a", 0, 600, "2023-01"), DataFile("b", 0, 500, "2023-02"))
    few = replace(EMPTY, listing={**EMPTY.listing, "plays": files[:1]})
    many = replace(EMPTY, listing={**EMPTY.listing, "plays": files})
    assert len(list(plan_pieces(YEAR, READER, few, worth=1000, size=1))) == 1
    assert len(list(plan_pieces(YEAR, READER, many, worth=1000, size=1))) > 1


@pytest.mark.parametrize("dimensions", [[], ["VIDEO_ID"], ["VIDEO_ID", "DAY"]], ids=str)
def test_rows_that_are_not_in_order_of_time_are_made_at_once(dimensions: list[str]) -> None:
    """Rows of different months that mix, or add up to one: one plan, that of the whole."""
    query = replace(YEAR, dimensions=tuple(dimensions))
    assert list(plan_pieces(query, READER, EMPTY, worth=0, size=1)) == [compile_query(query, READER, EMPTY)]


def test_a_disk_that_fills_up_between_pieces_is_named(world: World, tmp_path: Path) -> None:
    """The second piece has no room: a StorageError, and nothing is left of the first."""
    query = ReportQuery.of(["VIEWS"], ["DAY", "VIDEO_ID"], START, END)
    first = len(world.text(replace(query, end=date(2023, 6, 30)), MINE))
    with limit_file_size(first + 10), pytest.raises(StorageError, match="too large"):
        world.engine.session().write(plan_pieces(query, READER, world.snapshot, worth=0, size=1), tmp_path / "r.csv")
    assert list(tmp_path.iterdir()) == []
