"""What keeps reports going beside the queue, when something unforeseen happens: keepers, workers, their supervisor."""

from __future__ import annotations

import shutil
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog
from sqlalchemy import text
from tests.disks import small_disk
from tests.forked import run_child
from tests.patience import until
from tests.server.conftest import NOW, State
from tests.server.queue.running import running_worker

from reelport.engine.duckdb.engine import QueryEngine
from reelport.errors import StorageError
from reelport.query import ReportQuery
from reelport.server.access import organizations
from reelport.server.events import Kind, subscribe
from reelport.server.files import report_files
from reelport.server.queue import attempt, backlog, jobs
from reelport.server.queue.jobs import Claim
from reelport.server.queue.lease_keeper import LeaseKeeper, RunningAttempt
from reelport.server.queue.supervisor import run_workers
from reelport.server.queue.worker import Worker, run_worker
from reelport.server.settings import read_settings
from reelport.server.state.database import connect


def test_keeper_outlives_what_nobody_foresaw(state: State) -> None:
    """Without its ticks the leases of all running reports would run out."""

    def unforeseen() -> tuple[RunningAttempt, ...]:
        raise ZeroDivisionError

    keeper = LeaseKeeper(state.settings, state.db, running=unforeseen)
    with structlog.testing.capture_logs() as logs:
        keeper.tick()
        keeper.tick()
    assert [log["event"] for log in logs] == ["upkeep failed"] * 2


def test_worker_that_fails_ends_whole(state: State, tmp_path: Path) -> None:
    """After an error that nobody foresaw no thread holds the process, so that another one is started."""
    state.organization("demo")
    state.ask(state.caller(state.key("demo")))
    with state.db.begin() as connection:
        connection.execute(text("UPDATE reports SET query = 'no JSON'"))
    with QueryEngine("200MB", 1, tmp_path / "spill") as engine, subscribe(state.db, Kind.REPORT_QUEUED) as events:
        worker = Worker(state.settings, state.db, engine, "one", events)
        with pytest.raises(ValueError, match="Expecting value"):
            worker.run()
    assert "keeper" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_an_attempt_whose_end_can_not_be_recorded_is_told(state: State, tmp_path: Path) -> None:
    """For a reason that is no outage: else nobody would know why its report is made again and again."""
    state.organization("demo")
    asked = state.ask(state.caller(state.key("demo")))
    refuse = "CREATE TRIGGER refuse BEFORE UPDATE OF reason ON reports BEGIN SELECT RAISE(ABORT, 'not this one'); END"
    with state.db.begin() as connection:
        connection.execute(text(refuse))
    with (
        QueryEngine("200MB", 1, tmp_path / "spill") as engine,
        subscribe(state.db, Kind.REPORT_QUEUED) as events,
        structlog.testing.capture_logs() as logs,
        running_worker(Worker(state.settings, state.db, engine, "one", events)),
    ):
        told = {"event": "the end of an attempt was not recorded", "report": asked.id}
        assert until(lambda: any(told.items() <= log.items() for log in logs))


def test_worker_that_can_not_be_started_is_tried_again(tmp_path: Path) -> None:
    """A machine that takes no new process for a while is only logged: the supervisor goes on."""
    settings = read_settings(data=tmp_path, public_url="x" * 1_000_000)  # more than an environment holds
    with structlog.testing.capture_logs() as logs, run_workers(settings, 1):
        assert until(lambda: len(logs) >= 2)
    assert [log["event"] for log in logs[:2]] == ["worker ended"] * 2
    assert "could not be started" in logs[0]["reason"]


def test_data_directory_that_went_away_is_not_begun_anew(tmp_path: Path) -> None:
    """A worker, and an attempt, without their directory are refused: a new one would hold no facts."""
    settings = read_settings(data=tmp_path / "data")
    with pytest.raises(StorageError, match="is its disk there"):
        run_worker(settings, "supervisor")
    assert not settings.data.exists()
    db = connect(settings)
    (settings.data / "layout.json").unlink()
    claim = Claim("r", "one", 1, ReportQuery.of(["VIEWS"], [], NOW.date(), NOW.date()), frozenset("c"), None)
    with QueryEngine("200MB", 1, tmp_path / "spill") as engine, pytest.raises(StorageError, match="is its disk there"):
        attempt.make_report(db, settings, claim, engine.session(), attempt.clock, threading.Event())
    db.dispose()


def test_draft_that_can_not_be_removed_hides_no_reason(state: State, tmp_path: Path) -> None:
    """A disk that takes neither the draft nor its removal is told of in words, as any refusal of a disk is."""
    state.organization("demo")
    state.ask(state.caller(state.key("demo")))
    claim = jobs.claim(state.db, "one", running=2, lease_seconds=30)
    assert claim is not None
    # Neither written nor unlinked.
    report_files.prepare_draft(state.settings, claim.report_id, claim.attempt).mkdir()
    with QueryEngine("200MB", 1, tmp_path / "spill") as engine, pytest.raises(StorageError, match="can't be written"):
        attempt.make_report(state.db, state.settings, claim, engine.session(), attempt.clock, threading.Event())


def test_full_disk_fails_a_report_only_after_its_time_of_waiting(state: State, tmp_path: Path) -> None:
    """Until then it waits, with pauses that grow; then it has failed and says what to do."""
    settings, state.now = state.settings, datetime.now(UTC)
    state.organization("demo")
    asked = state.ask(state.caller(state.key("demo")))
    with (
        small_disk(settings.files_root, "4k") as disk,
        QueryEngine("200MB", 1, tmp_path / "spill") as engine,
        subscribe(state.db, Kind.REPORT_QUEUED) as events,
    ):
        (disk / "all-of-it").write_bytes(b"x" * 4096)
        worker = Worker(settings, state.db, engine, "one", events, room_seconds=4)
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            assert until(lambda: backlog.get_entry(state.db, asked.id).waited_for_room > 0)
            reason = str(backlog.get_entry(state.db, asked.id).reason)
            assert ("waits for room" in reason, "run it again" in reason) == (True, False)
            assert until(lambda: backlog.get_entry(state.db, asked.id).state == "failed")
        finally:
            worker.stop()
            thread.join()
    found = backlog.get_entry(state.db, asked.id)
    assert "waited 4 seconds for room. Make room" in str(found.reason)
    assert (found.attempts, found.failures) == (5, 1)  # pauses of 1, 1, 1 and 1 second


def test_a_worker_ends_once_it_rests_after_its_reports(state: State, tmp_path: Path) -> None:
    """It claims nothing more; its supervisor starts another one, which makes the rest."""
    state.now = datetime.now(UTC)
    state.organization("demo")
    caller = state.caller(state.key("demo"))
    asked = [state.ask(caller, day) for day in (1, 2, 3)]
    with (
        QueryEngine("200MB", 1, tmp_path / "spill") as engine,
        subscribe(state.db, Kind.REPORT_QUEUED) as events,
    ):
        for reports, left in ((2, 1), (1, 0)):
            Worker(state.again(slots=1), state.db, engine, "one", events, reports=reports).run()
            states = [backlog.get_entry(state.db, each.id).state for each in asked]
            assert [str(state) for state in states].count("queued") == left


def test_state_file_that_is_replaced_is_opened_anew(tmp_path: Path) -> None:
    """No connection goes on with a file that is gone: it is missed, and what stands in its place is read."""
    settings = read_settings(data=tmp_path)
    db = connect(settings)
    before = settings.state_file.with_name("before.db")
    shutil.copy(settings.state_file, before)
    organizations.add_organization(db, "later", NOW)
    settings.state_file.unlink()
    with pytest.raises(StorageError, match="no such file"):
        organizations.list_organizations(db)
    before.rename(settings.state_file)
    assert organizations.list_organizations(db) == ()
    assert organizations.add_organization(db, "again", NOW) in organizations.list_organizations(db)
    db.dispose()


_TOLD_WHILE_STARTING = """
import os, signal, sys, threading
from pathlib import Path
from reelport.server.queue import worker
from reelport.server.settings import read_settings
from reelport.server.state.database import connect
settings = read_settings(data=Path(sys.argv[1]))
connect(settings).dispose()
def make_engine(*given, make=worker.make_engine):
    os.kill(os.getpid(), signal.SIGTERM)
    return make(*given)
worker.make_engine, worker.exit_with_parent = make_engine, lambda: None
ended = threading.Event()
threading.Thread(target=ended.wait).start()
print("ready", flush=True)
try:
    worker.run_worker(settings, "supervisor")
    print("all is done")
finally:
    ended.set()
"""


def test_a_worker_that_is_told_to_stop_while_it_starts_ends_well(tmp_path: Path) -> None:
    """DuckDB, at its start, would make an error of its own of what a handler raises, whichever thread is told."""
    assert run_child(_TOLD_WHILE_STARTING, str(tmp_path / "data")).endswith("all is done\n")
