"""Counts that only grow: each way in which a report ends adds one, once, and what is swept away stays counted."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text
from tests.server.conftest import State

from reelport.server.files import retention
from reelport.server.files.report_files import FileRecord
from reelport.server.queue import deaths, jobs
from reelport.server.queue.jobs import Claim
from reelport.server.reports import withdrawal
from reelport.server.state import tallies
from reelport.server.state.database import writing
from reelport.server.state.tallies import BOUNDS, Times


def claim(state: State) -> Claim:
    """The next job, as one worker's."""
    claimed = jobs.claim(state.db, "worker", running=9, lease_seconds=30)
    assert claimed is not None
    return claimed


def test_each_end_is_counted_once_with_its_reason(state: State) -> None:
    """Finished, failed, cancelled, expired, withdrawn; what counts for nothing isn't counted."""
    state.organization("demo", "c1")
    caller = state.caller(state.key("demo"))
    ids = [state.ask(caller, day).id for day in range(1, 8)]
    done, late, died = claim(state), claim(state), claim(state)
    record = FileRecord(f"{done.report_id}-1.csv", 1, 2, "0")
    assert jobs.finish(state.db, done, record, state.now)
    assert jobs.finish(state.db, done, record, state.now), "again: the answer to the first may have been lost"
    assert jobs.fail(state.db, late, "It took too long.", state.now, code="too_late")
    assert not jobs.fail(state.db, late, "It took too long.", state.now, code="too_late")
    with writing(state.db) as connection:
        connection.execute(text("UPDATE jobs SET owner = 'other' WHERE report_id = :id"), {"id": died.report_id})
    deaths.record_death(state.db, "other", "was killed", limit=1, now=state.now)
    waiting = [id_ for id_ in ids if id_ not in {done.report_id, late.report_id, died.report_id}]
    assert jobs.cancel(state.db, waiting[0], "Cancelled.", state.now)
    with writing(state.db) as connection:
        connection.execute(text("UPDATE reports SET expires_at = 0 WHERE id = :id"), {"id": waiting[1]})
    retention.sweep(state.db, state.settings, state.now)
    withdrawal.remove_organization(state.db, state.settings, "demo")
    expected = {
        ("finished", ""): 1,
        ("failed", "too_late"): 1,
        ("failed", "worker_died"): 1,
        ("cancelled", "operator"): 1,
        ("cancelled", "access_withdrawn"): 2,
        ("expired", ""): 1,
    }
    assert tallies.read_tallies(state.db).ended == expected
    retention.sweep(state.db, state.settings, state.now + timedelta(days=365))
    assert tallies.read_tallies(state.db).ended == expected


def test_times_are_counted_in_buckets(state: State) -> None:
    """By the least bound that is not below; longer than every bound is a bucket too, and before the ask is at once."""
    with writing(state.db) as connection:
        for seconds in (-5.0, 0.1, 0.11, 7200.0, 9000.5):
            tallies.count_started(connection, seconds)
    found = tallies.read_tallies(state.db).times
    counted = dict(zip((*BOUNDS, float("inf")), found[Times.WAITING].counts, strict=True))
    assert {bound: count for bound, count in counted.items() if count} == {0.1: 2, 0.25: 1, 7200.0: 1, float("inf"): 1}
    assert found[Times.WAITING].total == pytest.approx(16_200.71)
    assert sum(found[Times.MAKING].counts) == 0


def test_only_a_first_attempt_counts_as_the_end_of_waiting(state: State) -> None:
    """A report that is given back waits no second time."""
    state.organization("demo", "c1")
    state.ask(state.caller(state.key("demo")))
    jobs.give_back(state.db, claim(state))
    jobs.give_back(state.db, claim(state))
    assert sum(tallies.read_tallies(state.db).times[Times.WAITING].counts) == 1


def test_the_end_of_the_last_backup_is_told_alone(state: State) -> None:
    """0 before the first; a later one takes its place, also after the clock was set back."""
    assert tallies.read_tallies(state.db).last_backup == 0
    for moment in (state.now, state.now + timedelta(days=1), state.now):
        with writing(state.db) as connection:
            tallies.record_backup(connection, moment)
        assert tallies.read_tallies(state.db).last_backup == pytest.approx(moment.timestamp(), abs=0.001)
