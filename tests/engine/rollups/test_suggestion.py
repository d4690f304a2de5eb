"""Rollups are suggested by what reports asked for, within a space, beside those that there are."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.engine.rollups.conftest import FIRST, LAST, MINE, Facts

from reelport.catalog import Grain, Product
from reelport.engine.rollups.shape import make_rollup
from reelport.engine.rollups.suggestion import Suggestion, count_demand, suggest_rollups
from reelport.facts.log.snapshot import pin
from reelport.facts.rollups.definition import Rollup
from reelport.facts.tables import TABLES
from reelport.query import ReportQuery

BY_DAY = ReportQuery.of(["VIEWS"], ["DAY"], FIRST, LAST, {}, Product.ALL)
BY_COUNTRY = replace(BY_DAY, dimensions=("DAY", "VISITOR_COUNTRY"))
BY_HOUR = replace(BY_DAY, dimensions=("HOUR",))
NEVER = replace(BY_DAY, metrics=("LIVE_VIEWERS",))
UNKNOWN = replace(BY_DAY, metrics=("VIEWS_OF_OLD",))
PLAIN, COUNTRY = make_rollup("plays", []), make_rollup("plays", ["visitor_country"])


@pytest.fixture
def loaded(facts: Facts) -> Facts:
    """One day of many plays that are alike but for countries and hours, and one of a few."""
    facts.load(FIRST, LAST, rows=300, like={"video_id": "x", "publisher_channel_id": None, "watchable_seconds": None})
    return facts


def suggested(
    facts: Facts, *asked: ReportQuery, known: tuple[Rollup, ...] = (), space: int = 10**9
) -> tuple[Suggestion, ...]:
    snapshot = pin(facts.root, TABLES)
    demand = count_demand([(query, MINE) for query in asked], snapshot)
    return suggest_rollups(facts.root, demand, snapshot, known, space=space)


def test_the_smallest_rollup_that_serves_comes_first(loaded: Facts) -> None:
    """One that serves both questions has more rows than the one of the first: each saves what is left to save."""
    found = suggested(loaded, *[BY_DAY] * 3, BY_COUNTRY)
    assert {each.rollup for each in found} <= {PLAIN, COUNTRY}
    assert any(each.rollup == COUNTRY for each in found)
    assert sum(each.saved for each in found) > 0.9
    assert all(each.rows < 600 and each.bytes > 0 for each in found)


def test_hours_are_kept_where_they_were_asked_for(loaded: Facts) -> None:
    """And questions that no rollup serves, or whose names this version lacks, ask for none."""
    (found,) = suggested(loaded, BY_HOUR, NEVER, UNKNOWN)
    assert (found.rollup, found.reports) == (make_rollup("plays", [], Grain.HOUR), 1)
    assert suggested(loaded, NEVER, UNKNOWN) == ()


def test_nothing_is_suggested_beyond_the_space_or_twice(loaded: Facts) -> None:
    """What doesn't fit isn't suggested, nor what a known rollup serves as well."""
    assert suggested(loaded, BY_DAY, space=0) == ()
    assert suggested(loaded, BY_DAY, known=(PLAIN,)) == ()


def test_a_rollup_that_saves_little_is_not_suggested(facts: Facts) -> None:
    """Facts of which hardly two are alike have none."""
    facts.load(FIRST, LAST, rows=8)
    assert suggested(facts, replace(BY_DAY, dimensions=("HOUR", "VIDEO_ID", "VISITOR_COUNTRY"))) == ()
