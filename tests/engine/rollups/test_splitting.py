"""Whether a report is cut into pieces is decided by the rows that it reads, of rollups where there are any."""

from __future__ import annotations

from datetime import timedelta

from reelport.engine.aggregation import DUCKDB, Aggregator
from reelport.engine.compile import plan_pieces, tables_of
from reelport.engine.rollups.choice import RollupAggregator, RollupList
from reelport.facts.log.snapshot import pin
from reelport.query import ReportQuery

from .conftest import FIRST, LAST, MINE, Facts

DAYS = tuple(FIRST + timedelta(days=number) for number in range((LAST - FIRST).days + 1))
ALIKE = {"owner_channel_id": "c1", "publisher_channel_id": None, "media_type": "video"}
BY_DAY = ReportQuery.of(["VIEWS"], ["DAY"], FIRST, LAST)


def count_pieces(facts: Facts, aggregator: Aggregator) -> int:
    """How many pieces a report of two months has that is worth cutting from four rows a day on."""
    snapshot = pin(facts.root, tables_of(BY_DAY))
    return len(list(plan_pieces(BY_DAY, MINE, snapshot, aggregator=aggregator, worth=4 * len(DAYS), size=1)))


def test_a_report_that_reads_few_rows_of_rollups_is_made_at_once(facts: Facts) -> None:
    """Five rows of facts a day would be cut in two months; a rollup has two rows of each day."""
    facts.load(*DAYS, like=ALIKE)
    facts.add()
    facts.build()
    aggregator = RollupAggregator(RollupList.read(facts.root))
    assert count_pieces(facts, DUCKDB) == 2
    assert count_pieces(facts, aggregator) == 1
    assert len(aggregator.choices) == 1


def test_a_report_whose_rollup_lacks_days_is_cut_by_the_facts_it_reads(facts: Facts) -> None:
    """The second load replaced all days but the first: there are facts to read again, enough to cut."""
    facts.load(*DAYS, like=ALIKE)
    facts.add()
    facts.build()
    facts.load(*DAYS[1:], like=ALIKE, span=(DAYS[1], LAST))
    assert count_pieces(facts, RollupAggregator(RollupList.read(facts.root))) == 2


def test_a_report_within_one_month_chooses_rollups_once(facts: Facts) -> None:
    """It can't be cut, so nothing is asked before it is compiled."""
    facts.load(*DAYS, like=ALIKE)
    facts.add()
    facts.build()
    query = ReportQuery.of(["VIEWS"], ["DAY"], FIRST, DAYS[1])
    calls = []

    class Counting(RollupAggregator):
        def count_rows_read(self, *_: object) -> int:
            calls.append(1)
            return 0

    aggregator = Counting(RollupList.read(facts.root))
    plans = list(plan_pieces(query, MINE, pin(facts.root, tables_of(query)), aggregator=aggregator, worth=0, size=1))
    assert (len(plans), calls) == (1, [])
