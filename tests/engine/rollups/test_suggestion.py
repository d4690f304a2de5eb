"""Rollups are suggested by what reports asked for, within a space, beside those that there are."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pyarrow as pa
import pytest
from tests.engine.rollups.conftest import FIRST, LAST, MINE, Facts

from reelport.catalog import Grain, Product
from reelport.engine.rollups.columns import make_rollup
from reelport.engine.rollups.suggestion import Suggestion, count_demand, suggest_rollups
from reelport.engine.tenant import Tenant
from reelport.facts.loading.load import load_arrow
from reelport.facts.log.snapshot import pin
from reelport.facts.rollups import Rollup
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
    facts: Facts, *asked: ReportQuery, known: tuple[Rollup, ...] = (), space: int = 10**9, tenant: Tenant = MINE
) -> tuple[Suggestion, ...]:
    snapshot = pin(facts.root, TABLES)
    demand = count_demand([(query, tenant) for query in asked], snapshot)
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


@pytest.fixture
def uneven(facts: Facts) -> Facts:
    """A day of a channel whose plays are alike, and of another of which no two are."""
    count = 4000
    texts = {"started_at": f"{FIRST}T05:00:00", "video_id": "x", "media_type": "video", "visitor_country": "FR"}
    columns = {name: pa.repeat(pa.scalar(text), count) for name, text in texts.items()}
    columns |= {name: pa.repeat(pa.scalar(1), count) for name in ("views", "time_watched_seconds")}
    columns |= {
        "owner_channel_id": pa.array(["c1" if at < count // 4 else "c7" for at in range(count)]),
        "publisher_channel_id": pa.array(["c1" if at < count // 4 else f"p{at}" for at in range(count)]),
    }
    load_arrow(facts.root, "plays", pa.table(columns), "uneven")
    return facts


def test_what_counts_is_what_the_asking_channels_read(uneven: Facts) -> None:
    """With three quarters as many rows as the facts a rollup has one of a channel whose plays are alike."""
    by_country = replace(BY_COUNTRY, product=Product.CONTENT.name)
    (found,) = suggested(uneven, by_country, tenant=Tenant(frozenset({"c1"})))
    assert (found.rollup, found.rows) == (COUNTRY, 3001)
    assert found.saved > 0.9


def test_a_rollup_that_helps_no_channel_that_asks_is_not_suggested(uneven: Facts) -> None:
    """One of the same facts, for the other channel."""
    by_country = replace(BY_COUNTRY, product=Product.CONTENT.name)
    assert suggested(uneven, by_country, tenant=Tenant(frozenset({"c7"}))) == ()


def test_a_rollup_counts_for_less_reading_by_what_it_saves_of_all(uneven: Facts) -> None:
    """Where what one channel reads is next to nothing of what all read, nothing is suggested for it."""
    content = replace(BY_COUNTRY, product=Product.CONTENT.name)
    snapshot = pin(uneven.root, TABLES)
    others = [(content, Tenant(frozenset({"c7"})))] * 40
    demand = count_demand([(content, Tenant(frozenset({"c1"}))), *others], snapshot)
    assert suggest_rollups(uneven.root, demand, snapshot, (), space=10**9) == ()


def test_a_rollup_that_saves_little_is_not_suggested(facts: Facts) -> None:
    """Facts of which hardly two are alike have none."""
    facts.load(FIRST, LAST, rows=8)
    assert suggested(facts, replace(BY_DAY, dimensions=("HOUR", "VIDEO_ID", "VISITOR_COUNTRY"))) == ()


def test_a_late_trickle_changes_no_advice(loaded: Facts) -> None:
    """The newest file has one row, which has no other to be summed with."""
    asked = BY_DAY, BY_COUNTRY
    before = {each.rollup for each in suggested(loaded, *asked)}
    loaded.load(LAST + timedelta(days=1), rows=1)
    assert {each.rollup for each in suggested(loaded, *asked)} == before
    assert before


def test_a_day_that_comes_in_many_files_is_summed_as_one(facts: Facts) -> None:
    """As a build does: its sums are few, though each of its files has hardly two rows alike."""
    for _ in range(8):
        facts.load(FIRST, rows=3, like={"video_id": "x", "publisher_channel_id": None, "owner_channel_id": "c1"})
    (found,) = suggested(facts, BY_DAY)
    assert found.rows <= 4
