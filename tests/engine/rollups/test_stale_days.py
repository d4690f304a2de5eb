"""Days that a rollup was built of, and whose facts are gone or other ones now, are read from no segment."""

from __future__ import annotations

from datetime import date, timedelta

from tests.engine.rollups.conftest import Facts

from reelport.catalog import Product
from reelport.engine.rollups.choice import RollupList
from reelport.facts.loading.compaction import compact
from reelport.query import ReportQuery

ONE = date(2026, 2, 1)
DAYS = [ONE + timedelta(days=at) for at in range(5)]
BEFORE = date(2026, 1, 30)
"""A day of another month, with enough facts for a rollup to be worth it."""
QUERY = ReportQuery.of(["VIEWS"], ["VISITOR_COUNTRY"], BEFORE, DAYS[-1], {}, Product.ALL)


def load_each(facts: Facts) -> None:
    """Load each day by itself, in a file of its own, and build a rollup of all."""
    facts.load(BEFORE, rows=400)
    for day in DAYS:
        facts.load(day)
    facts.add("visitor_country")
    facts.build()


def test_a_day_whose_facts_are_gone_is_not_read(facts: Facts) -> None:
    """Its load was undone: no file has the day any more, and the segment still has its rows."""
    load_each(facts)
    facts.undo(3)
    _, aggregator = facts.report(QUERY)
    assert aggregator.was_used


def test_a_merged_month_does_not_bring_gone_facts_back(facts: Facts) -> None:
    """The merged file spans the day whose load was undone: its rows in the segment stay wrong."""
    load_each(facts)
    facts.undo(3)
    facts.compact()
    for _ in range(2):
        _, aggregator = facts.report(QUERY)
        assert aggregator.was_used
        facts.build()


def test_a_replaced_day_is_counted_once_after_its_month_is_merged(facts: Facts) -> None:
    """The segment is handed over for its other days, and still has the day's rows from before."""
    load_each(facts)
    facts.load(DAYS[2], rows=3, span=(DAYS[2], DAYS[2]))
    facts.report(QUERY)
    facts.compact()
    _, aggregator = facts.report(QUERY)
    assert aggregator.was_used


def test_gone_facts_stay_gone_through_several_merges(facts: Facts) -> None:
    """A day is replaced, its month merged, the day emptied, the month merged again, with days of before in between."""
    load_each(facts)
    facts.load(DAYS[2], rows=3, span=(DAYS[2], DAYS[2]))
    facts.compact()
    facts.report(QUERY)
    facts.load(DAYS[1], span=(DAYS[1], DAYS[2]))
    facts.report(QUERY)
    facts.load(DAYS[0], rows=2)
    facts.compact()
    facts.report(QUERY)
    facts.build()
    facts.report(QUERY)


def test_what_is_forgotten_is_read_by_no_older_manifest(facts: Facts) -> None:
    """A merge of some days left the segment two manifests, of which one serves the other days alone, too."""
    load_each(facts)
    compact(facts.root, today=DAYS[3], settled_after=0)
    _, aggregator = facts.report(QUERY)
    aggregator.forget()
    _, aggregator = facts.report(QUERY)
    assert not aggregator.was_used
    assert sum(map(len, RollupList.read(facts.root).segments.values())) == 0
