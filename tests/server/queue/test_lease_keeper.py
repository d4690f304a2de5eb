"""A worker's lease keeper stops what nobody wants any more."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import structlog
from tests.patience import PATIENCE, until
from tests.server.conftest import State

from reelport.engine.duckdb.engine import Cancelled, QueryEngine
from reelport.engine.plan import Pieces, Plan, single_piece
from reelport.server.access.roles import Reach
from reelport.server.queue import backlog, jobs
from reelport.server.queue.lease_keeper import LeaseKeeper, RunningAttempt, StopReason
from reelport.server.reports import report_access, report_list

ENDLESS = Plan("SELECT hash(i) AS n FROM range(1000000000000) t(i) WHERE hash(i) = 1", ("n",))
"""A report that takes hours, and writes nothing meanwhile."""
SLOW = Plan("SELECT hash(i) AS n FROM range(1000000000000) t(i) WHERE hash(i) % 100 = 1", ("n",))
"""A report that takes hours, and writes rows all the time."""


def tick(keeper: LeaseKeeper) -> bool:
    keeper.tick()
    return True


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_a_cancelled_report_stops_its_engine(state: State, tmp_path: Path) -> None:
    """At the keeper's next tick, in the middle of its statement; what was written is gone."""
    state.organization("demo", "c1")
    state.ask(state.caller(state.key("demo")))
    claim = jobs.claim(state.db, "one", running=2, lease_seconds=30)
    assert claim is not None
    draft, ended = tmp_path / "r.csv", list[type[BaseException]]()
    with QueryEngine("200MB", 1, tmp_path / "spill") as engine:
        running = RunningAttempt(claim, engine.session())

        def write() -> None:
            with pytest.raises(Cancelled) as raised:
                running.session.write(single_piece(ENDLESS), draft)
            ended.append(raised.type)

        writing = threading.Thread(target=write)
        writing.start()
        assert until(running.session.underway.is_set)
        assert until(draft.exists)
        keeper = LeaseKeeper(state.settings, state.db, running=lambda: (running,), clock=lambda: state.now)
        keeper.tick()
        assert (running.stop, writing.is_alive()) == (None, True)
        backlog.cancel(state.db, claim.report_id, state.now)
        assert until(lambda: tick(keeper) and not writing.is_alive())
    assert (running.stop, ended, draft.exists()) == (StopReason.TAKEN, [Cancelled], False)


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_a_heartbeat_tells_what_is_written_so_far(state: State, tmp_path: Path) -> None:
    """Before the first row there is nothing to tell; then rows and bytes grow, for wire and Studio alike."""
    organization = state.organization("demo", "c1")
    caller = state.caller(state.key("demo"))
    asked = state.ask(caller)
    claim = jobs.claim(state.db, "one", running=2, lease_seconds=30)
    assert claim is not None

    def read() -> tuple[int | None, int | None]:
        found = report_access.find_report(state.db, caller, asked.token, state.now)
        listed = report_list.find_listed_report(state.db, Reach(organization), asked.id, state.now)
        assert found is not None
        assert listed is not None
        assert (found.details.rows, found.details.bytes) == (listed.rows, listed.bytes)
        return listed.rows, listed.bytes

    with QueryEngine("200MB", 1, tmp_path / "spill") as engine, ThreadPoolExecutor(1) as pool:
        running = RunningAttempt(claim, engine.session())
        keeper = LeaseKeeper(state.settings, state.db, running=lambda: (running,), clock=lambda: state.now)
        keeper.tick()
        assert read() == (None, None)
        writing = pool.submit(running.session.write, single_piece(SLOW), tmp_path / "r.csv")
        assert until(lambda: tick(keeper) and read()[0] is not None)
        rows, size = read()
        assert rows is not None
        assert size is not None
        assert 0 < rows < size
        assert until(lambda: tick(keeper) and (read()[0] or 0) > rows)
        running.session.cancel()
        assert isinstance(writing.exception(PATIENCE), Cancelled)
    assert jobs.give_back(state.db, claim)
    assert jobs.claim(state.db, "two", running=2, lease_seconds=30) is not None
    assert read() == (None, None), "a new attempt begins anew"


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("why", "short"),
    [(StopReason.LONG, {}), (StopReason.LATE, {"generation_seconds": 1})],
)
def test_leases_are_kept_beside_an_attempt_that_stops_late(
    state: State, tmp_path: Path, why: StopReason, short: dict[str, float]
) -> None:
    """One that fetches its files notices an interrupt only afterwards: no report may lose its lease by that."""
    state.organization("demo", "c1")
    state.ask(state.caller(state.key("demo")))
    claim = jobs.claim(state.db, "one", running=2, lease_seconds=30)
    assert claim is not None
    settings = state.again(**short)
    fetching, fetched = threading.Event(), threading.Event()

    def fetch() -> Pieces:
        fetching.set()
        assert fetched.wait(PATIENCE)
        yield from single_piece(ENDLESS)

    with QueryEngine("200MB", 1, tmp_path / "spill") as engine:
        running = RunningAttempt(claim, engine.session(), is_express=True, started_at=time.monotonic() - 2)

        def write() -> None:
            with pytest.raises(Cancelled):
                running.session.write(fetch(), tmp_path / "r.csv")

        writing = threading.Thread(target=write)
        writing.start()
        # Before this, the statement that sets the limit of spilling could be what the interrupt meets.
        assert fetching.wait(PATIENCE)
        keeper = LeaseKeeper(settings, state.db, running=lambda: (running,), clock=lambda: state.now)
        assert until(lambda: tick(keeper) and running.stop is why)
        assert writing.is_alive()
        before = running.renewed_at = running.renewed_at - settings.lease_seconds
        keeper.tick()
        fetched.set()
        writing.join(PATIENCE)
        assert not writing.is_alive()
    assert running.renewed_at > before, "its own lease is kept, too"
    assert jobs.postpone(state.db, claim)
    found = backlog.get_entry(state.db, claim.report_id)
    assert (found.state, found.losses, found.reason) == ("queued", 0, None)


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_a_worker_that_is_ready_keeps_up_its_other_duties(state: State) -> None:
    """Its first tick claims the sweep, and nothing of the tick fails: a failure would only be in the log."""
    keeper = LeaseKeeper(state.settings, state.db, running=tuple, clock=lambda: state.now, ready=lambda: "here-1-abc")
    with structlog.testing.capture_logs() as logs, closing(keeper):
        keeper.tick()
    assert logs == []
    assert not jobs.claim_chore(state.db, "sweep", state.settings.sweep_seconds)
