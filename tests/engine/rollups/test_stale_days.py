"""Which days a rollup is read for, when a report of rollups is cut, and what rollups of remote tables fetch."""

from __future__ import annotations

import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from tests.engine.rollups.conftest import FIRST, LAST, MINE, Facts
from tests.fact_rows import make_plays
from tests.facts.conftest import remote_tables
from tests.patience import child, until

from reelport.catalog import Product
from reelport.engine.aggregation import DUCKDB, Aggregator
from reelport.engine.compile import plan_pieces, tables_of
from reelport.engine.rollups.build import build_rollups
from reelport.engine.rollups.choice import RollupAggregator, RollupList
from reelport.engine.rollups.columns import make_rollup
from reelport.engine.rollups.suggestion import count_demand, suggest_rollups
from reelport.engine.tenant import Tenant
from reelport.facts.loading.compaction import compact
from reelport.facts.loading.load import load_arrow
from reelport.facts.log.log_files import attach_tables
from reelport.facts.log.snapshot import pin
from reelport.facts.rollups import add_rollup, sweep
from reelport.killpoints import VARIABLE
from reelport.query import ReportQuery
from reelport.storage.file_cache import FileCache

pytestmark = pytest.mark.long

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


COMPACT = """
import os, signal, sys
from datetime import date
from pathlib import Path
from reelport.facts.loading.compaction import compact
from reelport.facts.rollups import sweep
from reelport.killpoints import VARIABLE

kill = os.kill
os.kill = lambda pid, _number: kill(pid, signal.SIGSTOP)
print("ready", flush=True)
compact(Path(sys.argv[1]), today=date(2026, 6, 1))
"""
"""A compaction that stops, as a busy machine may stop it, at the step at which a test would kill it."""


def test_a_sweep_waits_for_a_merge_to_hand_rollups_on(facts: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the commit and that, nothing of a rollup fits the newest version: a sweep would delete all of it."""
    load_each(facts)
    with ThreadPoolExecutor(1) as pool:
        monkeypatch.setenv(VARIABLE, "load-commit")
        with child(COMPACT, str(facts.root)) as merging:
            assert until(lambda: read_state(merging.pid) == "T")
            sweeping = pool.submit(sweep, facts.root, datetime.now(UTC) + timedelta(days=9))
            waits = re.compile(rf"-> FLOCK .* {os.getpid()} ")
            assert until(lambda: sweeping.done() or waits.search(Path("/proc/locks").read_text()))
            os.kill(merging.pid, signal.SIGCONT)
            assert merging.wait() == 0
        sweeping.result()
    assert facts.build() == ()
    _, aggregator = facts.report(QUERY)
    assert aggregator.was_used


def read_state(pid: int) -> str:
    """The state of a process, as ps shows it."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_what_is_forgotten_is_read_by_no_older_manifest(facts: Facts) -> None:
    """A merge of some days left the segment two manifests, of which one serves the other days alone, too."""
    load_each(facts)
    compact(facts.root, today=DAYS[3], settled_after=0)
    _, aggregator = facts.report(QUERY)
    aggregator.forget()
    _, aggregator = facts.report(QUERY)
    assert not aggregator.was_used
    assert sum(map(len, RollupList.read(facts.root).segments.values())) == 0


TWO_MONTHS = tuple(FIRST + timedelta(days=number) for number in range((LAST - FIRST).days + 1))
ALIKE = {"owner_channel_id": "c1", "publisher_channel_id": None, "media_type": "video"}
BY_DAY = ReportQuery.of(["VIEWS"], ["DAY"], FIRST, LAST)


def count_pieces(facts: Facts, aggregator: Aggregator) -> int:
    """How many pieces a report of two months has that is worth cutting from four rows a day on."""
    snapshot = pin(facts.root, tables_of(BY_DAY))
    return len(list(plan_pieces(BY_DAY, MINE, snapshot, aggregator=aggregator, worth=4 * len(TWO_MONTHS), size=1)))


def test_a_report_that_reads_few_rows_of_rollups_is_made_at_once(facts: Facts) -> None:
    """Five rows of facts a day would be cut in two months; a rollup has two rows of each day."""
    facts.load(*TWO_MONTHS, like=ALIKE)
    facts.add()
    facts.build()
    aggregator = RollupAggregator(RollupList.read(facts.root))
    assert count_pieces(facts, DUCKDB) == 2
    assert count_pieces(facts, aggregator) == 1
    assert len(aggregator.choices) == 1


def test_a_report_whose_rollup_lacks_days_is_cut_by_the_facts_it_reads(facts: Facts) -> None:
    """The second load replaced all days but the first: there are facts to read again, enough to cut."""
    facts.load(*TWO_MONTHS, like=ALIKE)
    facts.add()
    facts.build()
    facts.load(*TWO_MONTHS[1:], like=ALIKE, span=(TWO_MONTHS[1], LAST))
    assert count_pieces(facts, RollupAggregator(RollupList.read(facts.root))) == 2


def test_a_report_within_one_month_chooses_rollups_once(facts: Facts) -> None:
    """It can't be cut, so nothing is asked before it is compiled."""
    facts.load(*TWO_MONTHS, like=ALIKE)
    facts.add()
    facts.build()
    query = ReportQuery.of(["VIEWS"], ["DAY"], FIRST, TWO_MONTHS[1])
    calls = []

    class Counting(RollupAggregator):
        def count_rows_read(self, *_: object) -> int:
            calls.append(1)
            return 0

    aggregator = Counting(RollupList.read(facts.root))
    plans = list(plan_pieces(query, MINE, pin(facts.root, tables_of(query)), aggregator=aggregator, worth=0, size=1))
    assert (len(plans), calls) == (1, [])


OF_THREE_MONTHS = (date(2026, 1, 5), date(2026, 2, 5), date(2026, 3, 5))


def load_day(root: Path, day: date) -> None:
    """Load a play of one day."""
    load_arrow(root, "plays", make_plays([(f"{day}T05:00:00", 1)]), f"{day}")


def attach_cache(root: Path, name: str, size: int = 10**9) -> None:
    """Let the tables be read through this cache: what is loaded stays in the cache of whoever loads."""
    attach_tables(root, replace(remote_tables(root), cache=FileCache(root.parent / name, size, "facts/")))


@pytest.fixture
def root(object_server: str, tmp_path: Path) -> Path:
    """Three months of plays in an object store, of which this machine has nothing yet."""
    assert object_server
    root = tmp_path / "facts"
    attach_cache(root, "loading")
    for day in OF_THREE_MONTHS:
        load_day(root, day)
    attach_cache(root, "cache")
    return root


def fetched(root: Path, cache: str = "cache") -> list[str]:
    """The months of the files that this machine has."""
    return sorted(path.parent.name for path in (root.parent / cache / "files").rglob("*.parquet"))


def test_a_suggestion_fetches_the_files_of_five_days_alone(root: Path) -> None:
    """It measures candidates by days that lie evenly among all rows."""
    for month in range(4, 11):
        load_day(root, date(2026, month, 5))
    attach_cache(root, "suggesting")
    query = ReportQuery.of(["VIEWS"], ["DAY"], OF_THREE_MONTHS[0], OF_THREE_MONTHS[-1], {}, Product.ALL)
    snapshot = pin(root, ["plays"])
    suggest_rollups(root, count_demand([(query, Tenant(frozenset({"c1"})))], snapshot), snapshot, (), space=10**9)
    assert fetched(root, "suggesting") == [f"month=2026-{month:02}" for month in (2, 4, 6, 8, 10)]


def test_a_build_fetches_the_months_that_it_sums(root: Path) -> None:
    """A day that was loaded since costs its own file."""
    add_rollup(root, make_rollup("plays", []))
    assert [built.problem for built in build_rollups(root, space=10**9)] == [None] * 3
    for path in (root.parent / "cache" / "files").rglob("*.parquet"):
        path.unlink()
    attach_cache(root, "loading")
    load_day(root, date(2026, 2, 6))
    attach_cache(root, "cache")
    assert [built.month for built in build_rollups(root, space=10**9)] == ["2026-02"]
    assert fetched(root) == ["month=2026-02"]


def test_a_build_holds_the_files_of_one_month_at_a_time(root: Path) -> None:
    """A cache that is smaller than all months lets the former month go when the next one is fetched."""
    attach_cache(root, "cache", 100)
    add_rollup(root, make_rollup("plays", []))
    there: list[list[str]] = []
    build_rollups(root, space=10**9, progress=lambda _: there.append(fetched(root)))
    assert there == [["month=2026-03"], ["month=2026-02"], ["month=2026-01"]]
