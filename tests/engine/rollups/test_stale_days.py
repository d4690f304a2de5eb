"""Days that a rollup was built of, and whose facts are gone or other ones now, are read from no segment."""

from __future__ import annotations

import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from tests.engine.rollups.conftest import Facts
from tests.patience import child, until

from reelport.catalog import Product
from reelport.engine.rollups.choice import RollupList
from reelport.facts.loading.compaction import compact
from reelport.facts.rollups import sweep
from reelport.killpoints import VARIABLE
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


@pytest.mark.long
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


@pytest.mark.long
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


@pytest.mark.long
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


@pytest.mark.long
def test_what_is_forgotten_is_read_by_no_older_manifest(facts: Facts) -> None:
    """A merge of some days left the segment two manifests, of which one serves the other days alone, too."""
    load_each(facts)
    compact(facts.root, today=DAYS[3], settled_after=0)
    _, aggregator = facts.report(QUERY)
    aggregator.forget()
    _, aggregator = facts.report(QUERY)
    assert not aggregator.was_used
    assert sum(map(len, RollupList.read(facts.root).segments.values())) == 0
