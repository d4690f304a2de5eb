"""When reports are ready: estimates of those that run, by what is known of them, and of those that wait behind."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from tests.patience import PATIENCE, until
from tests.server.conftest import State

from reelport.engine.duckdb.engine import Cancelled, QueryEngine
from reelport.engine.plan import Plan, single_piece
from reelport.query import ReportQuery
from reelport.report_details import ReportDetails
from reelport.report_details import State as ReportState
from reelport.server.access.callers import Caller
from reelport.server.queue import jobs
from reelport.server.queue.estimates import Pace, Speeds, Work, expect_rest, predict_ends
from reelport.server.queue.lease_keeper import LeaseKeeper, RunningAttempt
from reelport.server.reports import report_access
from reelport.server.reports.report_access import FoundReport

SLOW = Plan("SELECT hash(i) AS n FROM range(1000000000000) t(i) WHERE hash(i) % 100 = 1", ("n",))
"""A report that takes hours."""
QUERY = ReportQuery.of(["VIEWS"], ["DAY", "VIDEO_ID"], date(2026, 1, 1), date(2026, 1, 2))
OWN = frozenset({"c1"})


def look(state: State, caller: Caller, asked: FoundReport) -> ReportDetails:
    """What is told of a report now."""
    found = report_access.find_report(state.db, caller, asked.token, datetime.now(UTC))
    assert found is not None
    return found.details


def test_running_and_waiting_reports_are_told_with_an_estimate(state: State, tmp_path: Path) -> None:
    """It lies in the future; who waits is ready after who runs; a new attempt begins without one."""
    state.now = datetime.now(UTC)
    state.organization("demo", "c1")
    caller = state.caller(state.key("demo"))
    first, second = state.ask(caller, 1), state.ask(caller, 2)
    claim, told = jobs.claim(state.db, "one", running=2, lease_seconds=30), list[ReportDetails]()
    assert claim is not None
    with QueryEngine("200MB", 1, tmp_path / "spill") as engine, ThreadPoolExecutor(1) as pool:
        running = RunningAttempt(claim, engine.session())
        keeper = LeaseKeeper(state.again(slots=1), state.db, running=lambda: (running,))
        writing = pool.submit(running.session.write, single_piece(SLOW), tmp_path / "r.csv")
        with closing(keeper):

            def have_estimates() -> bool:
                keeper.tick()
                told.extend(look(state, caller, each) for each in (first, second))
                return all(each.ready_at is not None for each in told[-2:])

            assert until(have_estimates)
        running.session.cancel()
        assert isinstance(writing.exception(PATIENCE), Cancelled)
    before, after = told[-2:]
    assert (before.state, after.state) == (ReportState.RUNNING, ReportState.QUEUED)
    assert before.ready_at is not None
    assert after.ready_at is not None
    assert before.ready_at > state.now
    assert after.ready_at > state.now
    assert jobs.give_back(state.db, claim)
    assert look(state, caller, first).ready_at is None


def test_an_estimate_that_is_over_is_not_told(state: State) -> None:
    """It was wrong, and says nothing more."""
    state.organization("demo", "c1")
    state.now = datetime.now(UTC)
    caller = state.caller(state.key("demo"))
    asked = state.ask(caller)
    claim = jobs.claim(state.db, "one", running=2, lease_seconds=30)
    assert claim is not None
    assert jobs.renew_lease(state.db, claim, 30, None, 50.0, 100.0)
    ready_at = look(state, caller, asked).ready_at
    assert ready_at is not None
    assert abs(ready_at - datetime.now(UTC) - timedelta(seconds=100)) < timedelta(seconds=90)
    assert jobs.renew_lease(state.db, claim, 30, None, 0.0, -1.0)
    assert look(state, caller, asked).ready_at is None


def ends(running: list[Work], waiting: list[Work], **changed: int) -> dict[str, float]:
    """In how many seconds each ends, on one worker of one slot unless changed."""
    given = {"workers": 1, "slots": 1, "partner_limit": 9} | changed
    return predict_ends(running, waiting, {1: 0, 2: 5}, **given)


def test_waiting_reports_end_one_after_the_other() -> None:
    """After what runs; of several partners in turns, the one that was served least recently first."""
    assert ends([Work("a", 1, 4)], [Work("b", 1, 3), Work("c", 1, 2)]) == {"a": 4, "b": 7, "c": 9}
    waiting = [Work("a", 2, 1), Work("b", 2, 1), Work("c", 1, 1), Work("d", 1, 1)]
    assert ends([], waiting) == {"c": 1, "a": 2, "d": 3, "b": 4}


def test_reports_of_one_worker_share_its_speed() -> None:
    """Two at once take twice as long; on two workers each has its own."""
    both = [Work("a", 1, 2), Work("b", 1, 4)]
    assert ends([], both, slots=2) == {"a": 4, "b": 6}
    assert ends([], both, workers=2) == {"a": 2, "b": 4}


def test_a_partner_at_its_limit_lets_others_pass() -> None:
    """Its next report waits for one of its own, though a slot is free."""
    waiting = [Work("a", 1, 2), Work("b", 1, 2), Work("c", 2, 4)]
    assert ends([], waiting, slots=2, partner_limit=1) == {"a": 4, "b": 8, "c": 8}


def test_a_report_is_expected_by_those_most_like_it() -> None:
    """The same columns and channels tell more than the same columns, and these more than as many dimensions."""
    speeds, other = Speeds(), frozenset({"c2"})
    fresh = speeds.expect(QUERY, OWN, 1000)
    speeds.learn(QUERY, OWN, 1000, 10)
    assert speeds.knows(QUERY, OWN)
    assert not speeds.knows(QUERY, other)
    assert speeds.expect(QUERY, OWN, 1000) == pytest.approx(10)
    assert speeds.expect(QUERY, OWN, 2000) == pytest.approx(20, rel=0.01)
    assert speeds.expect(QUERY, other, 1000) == pytest.approx(10)
    speeds.learn(QUERY, other, 1000, 2)
    assert speeds.expect(QUERY, other, 1000) == pytest.approx(2)
    assert speeds.expect(QUERY, OWN, 1000) == pytest.approx(10)
    coarse = ReportQuery.of(["VIEWS"], ["DAY"], QUERY.start, QUERY.end)
    assert speeds.expect(coarse, OWN, 1000) <= fresh


def test_the_days_that_are_written_tell_more_than_what_was_expected() -> None:
    """From a part of them on they count alone; without them a report that is late takes half as long again."""
    assert expect_rest(10, 4, Pace()) == 6
    assert expect_rest(10, 20, Pace()) == 10
    assert expect_rest(10, 9.9, Pace()) == pytest.approx(0.05 * 9.9)
    half = Pace().go_on(0.5, 28)
    assert expect_rest(10, 30, half) == 26
    quicker = half.go_on(0.75, 35)
    assert quicker.whole == (56 + 28) / 2
    assert expect_rest(10, 35, quicker) == 0.25 * 42


def test_speeds_are_learned_and_asked_by_several_threads() -> None:
    """Many kinds at once: the oldest are forgotten, and nobody stumbles over another."""
    speeds, failures = Speeds(), list[BaseException]()

    def use(number: int) -> None:
        try:
            for day in range(400):
                channels = frozenset({f"{number}-{day}"})
                speeds.learn(QUERY, channels, 10, 1)
                assert speeds.expect(QUERY, channels, 10) == pytest.approx(1)
        except BaseException as error:  # noqa: BLE001 - told by the test
            failures.append(error)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not failures
    assert not speeds.knows(QUERY, frozenset({"0-0"}))
