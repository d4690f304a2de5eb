"""Whose fault a lost attempt is, on both databases: who is blamed, who is made alone next, and who never fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog
from sqlalchemy import text
from tests import forked
from tests.patience import PATIENCE, until
from tests.server.conftest import State

from reelport import killpoints
from reelport.server import credentials
from reelport.server.queue import backlog, deaths, jobs, liveness, supervisor
from reelport.server.queue.backlog import Entry
from reelport.server.queue.deaths import Death, record_watched_death
from reelport.server.queue.jobs import Claim
from reelport.server.queue.lease_keeper import release_dead_workers
from reelport.server.settings import read_settings
from reelport.server.state.database import connect

HOW = "was killed by SIGKILL"


def claim(state: State, owner: str, *, suspect: bool = False, beside: bool = False) -> Claim | None:
    """The next job, if there is one for this owner."""
    return jobs.claim(state.db, owner, running=9, lease_seconds=30, suspect=suspect, beside=beside)


def die(state: State, owner: str) -> tuple[str, ...]:
    """The supervisor saw this worker die."""
    return deaths.record_death(state.db, owner, HOW, limit=3, now=state.now)


def entry(state: State, report_id: str) -> Entry:
    """What `queue show` tells of it."""
    return backlog.get_entry(state.db, report_id)


def read_clock(state: State) -> int:
    with state.db.connect() as connection:
        return int(connection.execute(text("SELECT clock_ms()")).scalar_one())


def skip_pause(state: State) -> None:
    """Let time pass until every job is due."""
    with state.db.begin() as connection:
        connection.execute(text("UPDATE jobs SET not_before = 0"))


def ask(state: State, count: int = 1) -> list[str]:
    """So many new reports; their names."""
    state.organization("demo")
    caller = state.caller(state.key("demo"))
    return [state.ask(caller, day).id for day in range(1, count + 1)]


def test_reports_of_a_service_that_was_killed_are_logged_as_queued_again(state: State) -> None:
    """Its workers died with it and nobody watched: the next service's first worker takes them up, and says so once."""
    (report,) = ask(state)
    owner = liveness.make_owner_name(state.settings)
    assert claim(state, owner)
    state.settings.workers_root.mkdir(exist_ok=True)
    (state.settings.workers_root / f"{owner}.lock").touch()
    with structlog.testing.capture_logs() as lines:
        assert release_dead_workers(state.db, state.settings) == (report,)
        assert release_dead_workers(state.db, state.settings) == ()
    (line,) = lines
    assert (line["event"], line["reports"]) == ("reports of a dead worker queued again", [report])
    assert entry(state, report).state == "queued"


def test_three_deaths_alone_end_a_report_with_that_as_its_reason(state: State) -> None:
    """After the first one it is a suspect, made by isolated workers; the third is the last."""
    (asked,) = ask(state)
    assert claim(state, "w") is not None
    for count, owner in enumerate(("w", "i1", "i2"), 1):
        assert die(state, owner) == (asked,)
        found = entry(state, asked)
        assert (found.deaths, found.failures, found.losses) == (count, 0, 0)
        assert f"death {count} of 3" in str(found.reason)
        skip_pause(state)
        assert claim(state, "w") is None
        assert (claim(state, f"i{count}", suspect=True) is None) == (count == 3)
    assert (entry(state, asked).state, entry(state, asked).attempts) == ("failed", 3)
    assert HOW in str(entry(state, asked).reason)


def test_of_several_in_a_dead_worker_nobody_is_blamed_and_each_is_made_alone(state: State) -> None:
    """However often that happens; alone the innocent ones finish, and the guilty one fails."""
    asked = ask(state, 3)
    for beside in (False, True, True):
        assert claim(state, "w", beside=beside) is not None
    assert sorted(die(state, "w")) == sorted(asked)
    assert [(each.deaths, each.losses, each.suspect) for each in (entry(state, name) for name in asked)] == [
        (0, 1, True)
    ] * 3
    assert claim(state, "w") is None
    assert jobs.has_due_suspect(state.db)
    poison = asked[1]
    for number in range(5):
        taken = claim(state, f"i{number}", suspect=True)
        if taken is not None and taken.report_id == poison:
            die(state, f"i{number}")
        elif taken is not None:
            assert jobs.fail(state.db, taken, "made", state.now)  # an end that isn't a death
        skip_pause(state)
    assert not jobs.has_due_suspect(state.db)
    assert [entry(state, name).deaths for name in asked] == [0, 3, 0]


def test_last_one_of_a_worker_that_made_others_beside_it_is_not_blamed(state: State) -> None:
    """The others ended or were cancelled a moment before: one of them may have been it."""
    first, second = ask(state, 2)
    assert claim(state, "w") is not None
    assert claim(state, "w", beside=True) is not None
    assert jobs.cancel(state.db, first, "x", state.now)
    assert die(state, "w") == (second,)
    found = entry(state, second)
    assert (found.deaths, found.losses, found.suspect) == (0, 1, True)


def test_losses_that_nobody_saw_end_no_report(state: State) -> None:
    """Killed with its supervisor ten times it still waits: since the third as a suspect, with growing pauses."""
    (asked,) = ask(state)
    for number in range(10):
        assert claim(state, f"w{number}", suspect=number >= deaths.MOST_LOSSES) is not None
        before = read_clock(state)
        assert deaths.requeue_jobs(state.db, f"w{number}") == (asked,)
        after = read_clock(state)
        with state.db.connect() as connection:
            due = connection.execute(text("SELECT not_before FROM jobs")).scalar_one()
        pause = [0, 0, 0, 1000, 4000, 16_000, *[jobs.LONGEST_PAUSE * 1000] * 4][number]
        assert before + pause <= due <= after + pause
        skip_pause(state)
    found = entry(state, asked)
    assert (found.state, found.losses, found.deaths, found.suspect) == ("queued", 10, 0, True)


def test_a_worker_that_was_silent_past_its_lease_is_not_said_to_have_ended(state: State) -> None:
    """It may only be frozen: all that is known is that it renewed no lease."""
    (asked,) = ask(state)
    assert claim(state, "frozen") is not None
    with state.db.begin() as connection:
        connection.execute(text("UPDATE jobs SET leased_until = 1"))
    assert deaths.requeue_overdue(state.db, 30) == (asked,)
    assert entry(state, asked).reason == (
        "The process that made it gave no sign of life for as long as its lease, which is not its fault: "
        "it is made again."
    )
    assert claim(state, "other") is not None
    assert deaths.requeue_jobs(state.db, "other") == (asked,)
    assert str(entry(state, asked).reason).startswith("The process that made it ended, ")


def test_out_of_memory_beside_others_is_tried_alone_and_counts_only_there(state: State) -> None:
    """Whose memory it was isn't known before; alone it is a failure as any."""
    asked = ask(state, 2)
    first, second = claim(state, "w"), claim(state, "w", beside=True)
    assert first is not None
    assert second is not None
    for each in (first, second):
        assert deaths.isolate(state.db, each, "needs more memory")
    assert [entry(state, name).failures for name in asked] == [0, 0]
    alone = claim(state, "i", suspect=True)
    assert alone is not None
    assert not deaths.isolate(state.db, alone, "needs more memory")
    assert jobs.retry(state.db, alone, "needs more memory", 0)
    assert entry(state, alone.report_id).failures == 1
    assert entry(state, alone.report_id).suspect


_WORKER = """
import sys
from reelport.server.queue import jobs, liveness
from reelport.server.state.database import connect
from reelport.server.settings import read_settings
settings = read_settings()
db = connect(settings)
owner = liveness.make_owner_name(settings)
with liveness.hold_name(settings, owner, sys.argv[1]):
    for number in range(int(sys.argv[2])):
        assert jobs.claim(db, owner, running=9, lease_seconds=30, beside=number > 0)
    print("ready", flush=True)
    sys.stdin.read()
"""


@contextmanager
def worker(state: State, supervisor: str, reports: int = 1) -> Iterator[forked.Popen]:
    """A process that holds so many jobs, watched by that supervisor."""
    with forked.Popen(
        ["-c", _WORKER, supervisor, str(reports)],
        env={**os.environ, **state.settings.environment()},
        stdin=forked.PIPE,
        stdout=forked.PIPE,
        loads=forked.COMMANDS,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process


def test_death_of_a_watched_worker_is_its_supervisors_alone_to_settle(state: State) -> None:
    """While the supervisor lives nobody else clears up after its worker."""
    (asked,) = ask(state)
    with liveness.hold_supervisor_name(state.settings) as name, worker(state, name) as process:
        process.kill()
        death = Death(process.pid, process.wait())
        with liveness.lock_unwatched_dead(state.settings) as dead:
            assert dead == ()
        assert entry(state, asked).state == "running"
        assert until(lambda: record_watched_death(state.settings, state.db, name, death, state.now))
        assert (entry(state, asked).deaths, entry(state, asked).state) == (1, "queued")
        assert list(state.settings.workers_root.glob("*.lock")) == []


def test_death_that_the_supervisor_did_not_outlive_is_nobodys_fault(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended within the same second, both are dead for whoever clears up next; their files go."""
    monkeypatch.setattr(supervisor, "OUTLIVED_SECONDS", PATIENCE)
    (asked,) = ask(state)
    with (
        liveness.hold_supervisor_name(state.settings) as name,
        worker(state, name) as process,
        ThreadPoolExecutor() as pool,
    ):
        watching = supervisor._Supervisor(state.settings, state.db, name, pool)  # noqa: SLF001 - as `run_workers` does
        process.kill()
        recording = pool.submit(watching._record_death, Death(process.pid, process.wait()))  # noqa: SLF001
        with pytest.raises(TimeoutError):
            recording.result(0.3)
        watching.ending.set()
        recording.result(PATIENCE)
    with liveness.lock_unwatched_dead(state.settings) as dead:
        assert [deaths.requeue_jobs(state.db, owner) for owner in dead] == [(asked,)]
    found = entry(state, asked)
    assert (found.state, found.deaths, found.losses, found.suspect) == ("queued", 0, 1, False)
    assert list(state.settings.workers_root.iterdir()) == []


def test_supervisor_that_was_killed_is_known_to_be_dead(state: State) -> None:
    """Its lock goes with its process, and then its workers are anybody's to clear up after."""
    code = (
        "import sys; from reelport.server.queue import liveness; from reelport.server.settings import read_settings\n"
        "with liveness.hold_supervisor_name(read_settings()) as name:\n    print(name, flush=True); sys.stdin.read()"
    )
    (asked,) = ask(state)
    with forked.Popen(
        ["-c", code],
        env={**os.environ, **state.settings.environment()},
        stdin=forked.PIPE,
        stdout=forked.PIPE,
        loads=forked.COMMANDS,
    ) as watching:
        assert watching.stdout is not None
        with worker(state, watching.stdout.readline().strip()) as process:
            watching.kill()
            watching.wait()
            with liveness.lock_unwatched_dead(state.settings) as dead:
                assert dead == ()  # its worker lives
            process.kill()
            process.wait()
            with liveness.lock_unwatched_dead(state.settings) as dead:
                assert [deaths.requeue_jobs(state.db, owner) for owner in dead] == [(asked,)]
    assert list(state.settings.workers_root.iterdir()) == []


@pytest.mark.parametrize(
    ("status", "own"),
    [
        (-signal.SIGKILL, True),
        (-signal.SIGSEGV, True),
        (-signal.SIGABRT, True),
        (1, True),
        (0, False),
        (-signal.SIGTERM, False),
        (-signal.SIGINT, False),
        (-signal.SIGHUP, False),
    ],
)
def test_only_failing_and_being_killed_is_a_death(status: int, own: bool) -> None:
    """A worker that somebody stopped on purpose, or that ended well, did not die by itself."""
    assert Death(1, status).is_its_own is own


def test_death_says_how() -> None:
    """The sentence names the signal or the status; a signal without a name by its number."""
    assert Death(1, -signal.SIGSEGV).how == "was killed by SIGSEGV"
    assert Death(1, -signal.SIGKILL).how == "was killed by SIGKILL (perhaps for lack of memory)"
    assert Death(1, -200).how == "was killed by signal 200"
    assert [Death(1, status).how for status in (0, 3)] == ["ended with exit status 0", "ended with exit status 3"]


@pytest.mark.long
def test_worker_beside_no_service_is_watched_and_replaced(tmp_path: Path) -> None:
    """`reelport worker` outlives the death of the process that makes reports: it is counted, and the report is made."""
    settings = read_settings(data=tmp_path / "data", workers=0)
    db = connect(settings)
    state = State(settings, db, credentials.load_service_secret(settings), datetime.now(UTC))
    (asked,) = ask(state)
    (tmp_path / "claim").touch()
    with subprocess.Popen(
        [sys.executable, "-m", "reelport", "worker"],
        env={**os.environ, **settings.environment(), killpoints.VARIABLE: f"claim:{tmp_path / 'claim'}"},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as watching:
        try:
            assert until(lambda: entry(state, asked).state == "finished")
        finally:
            watching.terminate()
    found = entry(state, asked)
    assert (found.attempts, found.deaths, found.losses) == (2, 1, 0)
    assert (watching.returncode, list(settings.workers_root.iterdir())) == (0, [])
    db.dispose()
