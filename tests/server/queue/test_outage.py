"""What a worker does while the state can't be reached, and which workers are ready by what they write into it."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path

import psycopg
import pytest
import structlog
from sqlalchemy import make_url, text
from tests.patience import PATIENCE, until
from tests.server.conftest import State
from tests.server.queue.running import running_worker

from reelport.engine.duckdb.engine import QueryEngine, Session
from reelport.server.events import Kind, subscribe
from reelport.server.files.report_files import FileRecord
from reelport.server.queue import attempt, backlog, jobs, liveness
from reelport.server.queue.jobs import Claim
from reelport.server.queue.lease_keeper import LeaseKeeper, RunningAttempt
from reelport.server.queue.worker import Worker
from reelport.server.state import sqlite_engine
from reelport.server.state.database import StateUnavailable, opened, sit_out, writing
from reelport.server.state.tallies import read_tallies
from reelport.server.state.write_ahead import WriteAheadLog

FILE = FileRecord("x.csv", 1, 2, "ab")


def asked_and_claimed(state: State) -> Claim:
    """The claim of a report that was just asked for."""
    state.organization("demo")
    state.ask(state.caller(state.key("demo")))
    claim = jobs.claim(state.db, "one", running=2, lease_seconds=600)
    assert claim is not None
    return claim


@contextmanager
def unreachable(state: State, postgresql: str) -> Iterator[None]:
    """Let the server refuse the state's database within the block, and end its sessions."""
    name = make_url(state.settings.database_url).database
    with psycopg.connect(f"{postgresql}/postgres", autocommit=True) as server:
        server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        try:
            yield
        finally:
            server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
@pytest.mark.parametrize("pinned", [True, False])
def test_a_report_waits_for_the_state_with_what_it_has(
    state: State, postgresql: str, tmp_path: Path, *, pinned: bool
) -> None:
    """Made while nobody can be told, it is published afterwards; one that isn't begun yet begins then."""
    claim = asked_and_claimed(state)
    if pinned:
        claim = Claim(claim.report_id, "one", 1, claim.query, claim.channels, {})
    stopping = threading.Event()
    with QueryEngine("200MB", 1, tmp_path / "spill") as engine, ThreadPoolExecutor(1) as pool:
        with unreachable(state, postgresql):
            arguments = (state.db, state.settings, claim, engine.session(), attempt.clock, stopping)
            made = pool.submit(attempt.make_report, *arguments)
            with pytest.raises(StateUnavailable):
                jobs.find_held(state.db, [claim])
            if pinned:
                assert until(lambda: list(state.settings.files_root.glob("*.csv")) or made.done())
            assert not made.done()
        record = made.result()
    entry = backlog.get_entry(state.db, claim.report_id)
    assert (entry.state, entry.file, entry.attempts, entry.failures) == ("finished", record.name, 1, 0)


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_worker_that_stops_waits_for_nothing(state: State, postgresql: str) -> None:
    """The first refusal then is the last."""
    claim, stopping = asked_and_claimed(state), threading.Event()
    stopping.set()
    with unreachable(state, postgresql), pytest.raises(StateUnavailable):
        sit_out(lambda: jobs.give_back(state.db, claim), stopping)


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_an_outage_that_is_longer_than_a_lease_takes_no_report_from_a_living_worker(
    state: State, postgresql: str, tmp_path: Path
) -> None:
    """The first that reaches the state again leaves the others time to renew theirs."""
    state.organization("demo")
    for day in (1, 2):
        state.ask(state.caller(state.key("demo")), day)
    claims = [jobs.claim(state.db, owner, running=2, lease_seconds=30) for owner in ("one", "two")]
    with QueryEngine("200MB", 1, tmp_path / "spill") as engine, ExitStack() as stack:
        running = [RunningAttempt(claim, engine.session(), renewed_at=0.0) for claim in claims if claim is not None]
        keepers = [LeaseKeeper(state.settings, state.db, running=partial(tuple, [each])) for each in running]
        for keeper in keepers:
            stack.enter_context(closing(keeper))
        with unreachable(state, postgresql):
            for keeper in keepers:
                keeper.tick()
        with writing(state.db) as connection:
            connection.execute(text("UPDATE jobs SET leased_until = clock_ms() - 1"))
        for keeper in keepers:
            keeper.tick()
        assert jobs.find_held(state.db, [each.claim for each in running]) == set(claims)


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_what_was_made_while_another_process_held_the_state_locked_is_recorded(state: State) -> None:
    """One that is frozen in a commit is no fault of the report, which would else count it as a failure."""
    claim, tried = asked_and_claimed(state), threading.Event()

    def record() -> bool:
        try:
            with WriteAheadLog(state.settings.state_file, 0).hold(state.db):
                pass
        finally:
            tried.set()
        return jobs.finish(state.db, claim, FILE, state.now)

    with ThreadPoolExecutor(1) as pool:
        with WriteAheadLog(state.settings.state_file, 30).hold(state.db):
            done = pool.submit(sit_out, record, threading.Event())
            assert tried.wait(PATIENCE)
        assert done.result()
    entry = backlog.get_entry(state.db, claim.report_id)
    assert (entry.state, entry.failures) == ("finished", 0)


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_a_worker_that_stops_while_the_state_is_locked_blames_no_report(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock may be free again before the worker has ended, which then tells what became of the report."""
    monkeypatch.setattr(sqlite_engine, "BUSY_SECONDS", 1)
    state.organization("demo")
    asked = state.ask(state.caller(state.key("demo")))
    with (
        opened(state.settings) as db,
        QueryEngine("200MB", 1, tmp_path / "spill") as engine,
        subscribe(db, Kind.REPORT_QUEUED) as events,
        state.settings.state_file.with_name("state.db-writer").open("rb") as lock,
        structlog.testing.capture_logs() as lines,
    ):
        worker, begin = Worker(state.settings, db, engine, "one", events), engine.session

        def lock_and_begin() -> Session:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the report is claimed by now
            worker.stop()
            return begin()

        monkeypatch.setattr(engine, "session", lock_and_begin)
        with running_worker(worker):
            assert until(lambda: any(line.get("report") == asked.id for line in lines))
            lock.close()
    entry = backlog.get_entry(state.db, asked.id)
    assert (entry.failures, entry.reason) == (0, None), lines


@pytest.mark.parametrize("write", ["pin", "finish"])
def test_what_is_written_again_after_a_lost_answer_counts_once(state: State, write: str) -> None:
    """The first commit may have gone through: the second changes nothing, and finds that it had."""
    claim = asked_and_claimed(state)
    again: Callable[[], bool] = {
        "pin": lambda: jobs.pin_versions(state.db, claim, {"plays": 1}),
        "finish": lambda: jobs.finish(state.db, claim, FILE, state.now),
    }[write]
    assert again()
    assert again()
    assert sum(read_tallies(state.db).ended.values()) == (write == "finish")
    other = FileRecord("x.csv", 1, 2, "cd")
    assert not (write == "finish" and jobs.finish(state.db, claim, other, state.now))


def test_a_worker_elsewhere_that_falls_silent_is_dead(state: State) -> None:
    """Neither in the future does a heartbeat count: a clock was set back since."""
    liveness.record_heartbeat(state.db, "elsewhere-7-abc")
    for moved, expected in ((-20_000, True), (-40_000, False), (40_000, False)):
        with writing(state.db) as connection:
            connection.execute(text("UPDATE workers SET seen_at = clock_ms() + :moved"), {"moved": moved})
        assert bool(liveness.list_ready(state.db, state.settings)) is expected
    liveness.record_heartbeat(state.db, "elsewhere-7-abc")
    liveness.unregister(state.db, "elsewhere-7-abc")
    assert not liveness.list_ready(state.db, state.settings)
