"""The SQL of a question is written once, and filled for each report: as if it were written anew."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from itertools import product
from types import FrameType

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.engine.drawn import queries

from reelport.catalog import Filter
from reelport.engine.compile import compile_query
from reelport.engine.plan import Plan
from reelport.engine.tenant import Tenant
from reelport.query import ReportQuery

from .aggregators import Elsewhere
from .sample import MINE
from .world import World, said_dense

READER = Tenant(MINE)
TITLES = ReportQuery.of(["VIEWS"], ["DAY", "VIDEO_TITLE"], date(2023, 6, 1), date(2023, 6, 30))
LOOKALIKES = (
    "<'plays'>",
    "<'plays owner_channel_id'>",
    "CAST('0001-01-01' AS DATE)",
    "CAST('9999-12-31 00:00:00+00:00' AS TIMESTAMPTZ)",
    "0001-01-01",
)


@settings(deadline=None)
@given(query=queries(), later=st.integers(0, 40), ordered=st.booleans())
@example(query=TITLES, later=1, ordered=True)
def test_a_filled_template_is_the_sql_of_its_report(
    world: World, query: ReportQuery, later: int, ordered: bool
) -> None:
    """Of any question, and of the same question over other days, be facts dense or not."""
    for days, snapshot in product((0, later), (world.snapshot, said_dense(world.snapshot))):
        asked = replace(query, start=query.start + timedelta(days), end=query.end + timedelta(days))
        written = compile_query(asked, READER, snapshot, Elsewhere(), ordered=ordered)
        assert compile_query(asked, READER, snapshot, ordered=ordered) == written


@pytest.mark.parametrize("value", LOOKALIKES)
@pytest.mark.parametrize("reader", [READER, Tenant(MINE | frozenset(LOOKALIKES))])
def test_no_text_of_a_query_is_taken_for_a_gap(world: World, value: str, reader: Tenant) -> None:
    """A filter's value and a channel's id stay what they are."""
    row = next(each for each in Filter if not each.choices)
    query = ReportQuery.of(["VIEWS"], ["DAY"], date(2023, 6, 1), date(2023, 6, 30), {row.name: value})
    assert compile_query(query, reader, world.snapshot) == compile_query(query, reader, world.snapshot, Elsewhere())


def test_a_question_that_comes_again_is_written_no_more(world: World) -> None:
    """Over other days it takes a tenth of the calls."""

    def ask(start: date) -> int:
        query = ReportQuery.of(["VIEWS", "TIME_WATCHED_SECONDS"], ["DAY", "VIDEO_TITLE"], start, start)
        reader = Tenant(MINE | {"asks for the first time"})
        return _count_calls(lambda: compile_query(query, reader, world.snapshot))

    first = ask(date(2023, 6, 1))
    assert ask(date(2023, 6, 2)) < first / 5


def test_a_long_question_is_not_kept(world: World) -> None:
    """Whoever asks for ever other texts fills no memory by it: the same one is written anew, alike."""
    row = next(each for each in Filter if not each.choices)
    query = ReportQuery.of(["VIEWS"], ["DAY"], date(2023, 6, 1), date(2023, 6, 30), {row.name: "x" * 4_000})
    plans: list[Plan] = []
    first, second = (_count_calls(lambda: plans.append(compile_query(query, READER, world.snapshot))) for _ in range(2))
    assert second > first / 2
    assert plans == 2 * [compile_query(query, READER, world.snapshot, Elsewhere())]


def _count_calls(call: Callable[[], object]) -> int:
    """Count the functions of Python that are called."""
    calls = 0

    def note(_frame: FrameType, event: str, _value: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return calls
