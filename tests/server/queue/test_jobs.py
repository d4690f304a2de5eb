"""The queue under contention, on both databases."""

from __future__ import annotations

import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from sqlalchemy import text
from tests.server.conftest import State

from reelport.server.doctor.checks import run_checks
from reelport.server.files import retention
from reelport.server.files.report_files import FileRecord
from reelport.server.queue import backlog, deaths, jobs
from reelport.server.queue.jobs import Claim
from reelport.server.reports import report_access
from reelport.wire import ReportStatus

FILE = FileRecord("x.csv", 1, 2, "ab")
RUNNING = "SELECT count(*) AS n FROM jobs WHERE owner IS NOT NULL GROUP BY organization_id"


def claim(state: State, owner: str = "worker", *, running: int = 2, lease: float = 30) -> Claim | None:
    """The next job, if there is one for this owner."""
    return jobs.claim(state.db, owner, running=running, lease_seconds=lease)


def told(state: State, report_id: str) -> tuple[str, str | None, int]:
    """Status, reason and attempts of a report."""
    with state.db.connect() as connection:
        row = connection.execute(
            text("SELECT status, reason, attempts FROM reports WHERE id = :id"), {"id": report_id}
        ).one()
    return row.status, row.reason, row.attempts


def test_two_run_a_partner_and_partners_take_turns(state: State) -> None:
    """A partner with many reports holds no other one up, and never has more than two running."""
    for name in ("greedy", "modest"):
        state.organization(name, name)
    greedy, modest = (state.caller(state.key(name)) for name in ("greedy", "modest"))
    for day in range(1, 6):
        state.ask(greedy, day)
    state.ask(modest, 1)
    order = [claim(state) for _ in range(4)]
    assert [next(iter(each.channels)) if each else None for each in order] == ["greedy", "modest", "greedy", None]
    first = order[0]
    assert first is not None
    assert first.query.start.day == 1
    assert jobs.finish(state.db, first, FILE, state.now)
    following = claim(state)
    assert following is not None
    assert following.query.start.day == 3


def test_a_report_ends_for_a_reason_of_any_letters(state: State) -> None:
    """A library's message may hold what a database refuses: its report would never end, and nobody would know why."""
    state.organization("demo")
    asked = state.ask(state.caller(state.key("demo")))
    first = claim(state)
    assert first is not None
    assert jobs.retry(state.db, first, "503: \0\udcff", 0)
    assert told(state, asked.id) == ("IN_PROGRESS", "503: ?", 1)
    last = claim(state)
    assert last is not None
    assert jobs.fail(state.db, last, "503: \0\udcff", state.now)
    assert told(state, asked.id) == ("FAILED", "503: ?", 2)


def test_each_job_is_claimed_once_by_many_claimers(state: State) -> None:
    """Eight threads of claimers get every job exactly once, never more than two of a partner at a time."""
    for name in ("a", "b", "c"):
        state.organization(name)
        caller = state.caller(state.key(name))
        for day in range(1, 9):
            state.ask(caller, day)
    running: Counter[int] = Counter()
    done: list[str] = []

    def serve(owner: str) -> None:
        while len(done) < 24:
            taken = claim(state, owner)
            if taken is None:
                time.sleep(0.002)
                continue
            with state.db.connect() as connection:
                most = connection.execute(text(f"SELECT max(n) FROM ({RUNNING}) AS x")).scalar()
            running[most or 0] += 1
            assert jobs.finish(state.db, taken, FILE, state.now)
            done.append(taken.report_id)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(serve, [f"w{number}" for number in range(8)]))
    assert len(done) == len(set(done)) == 24
    assert max(running) <= 2


def test_silent_workers_job_is_taken_up_again_and_its_writes_count_for_nothing(state: State) -> None:
    """When a lease runs out another attempt begins, and the first worker can neither beat, pin, finish nor fail."""
    state.organization("demo")
    asked = state.ask(state.caller(state.key("demo")))
    stalled = claim(state, "stalled", lease=0.02)
    assert stalled is not None
    assert claim(state, "other") is None
    time.sleep(0.05)
    assert deaths.requeue_overdue(state.db, 30) == (asked.id,)
    second = claim(state, "other")
    assert second is not None
    assert second.attempt == 2
    assert not jobs.find_held(state.db, [stalled])
    assert not jobs.renew_lease(state.db, stalled, 30)
    assert not jobs.pin_versions(state.db, stalled, {"plays": 7})
    assert not jobs.finish(state.db, stalled, FILE, state.now)
    assert not jobs.fail(state.db, stalled, "x", state.now)
    assert not jobs.retry(state.db, stalled, "x", 0)
    assert not jobs.give_back(state.db, stalled)
    assert jobs.finish(state.db, second, FILE, state.now)
    assert told(state, asked.id) == ("FINISHED", None, 2)


def test_beating_keeps_a_job(state: State) -> None:
    """A lease that is renewed, here at its very end, doesn't run out."""
    state.organization("demo")
    state.ask(state.caller(state.key("demo")))
    taken = claim(state, lease=0.02)
    assert taken is not None
    for _ in range(2):
        time.sleep(0.05)
        assert jobs.renew_lease(state.db, taken, 60)
        assert deaths.requeue_overdue(state.db, 30) == ()


def test_retry_waits_and_keeps_the_reason(state: State) -> None:
    """A failed attempt is due again after its pause, and says meanwhile why it failed."""
    state.organization("demo")
    asked = state.ask(state.caller(state.key("demo")))
    taken = claim(state)
    assert taken is not None
    running = backlog.get_entry(state.db, asked.id)
    assert (running.place, running.due_at) == (None, None)
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    assert jobs.retry(state.db, taken, "disk full", 60)
    assert told(state, asked.id) == ("IN_PROGRESS", "disk full", 1)
    due = backlog.get_entry(state.db, asked.id).due_at
    assert due is not None
    assert due >= before + timedelta(seconds=60)
    assert claim(state) is None
    with state.db.begin() as connection:
        connection.execute(text("UPDATE jobs SET not_before = not_before - 60000"))
    assert claim(state) is not None


def test_no_pause_is_longer_than_a_minute(state: State) -> None:
    """However often a report failed, it is tried again before its own time is over."""
    state.organization("demo")
    state.ask(state.caller(state.key("demo")))
    taken = claim(state)
    assert taken is not None
    before = time.time() * 1000
    assert jobs.retry(state.db, taken, "disk full", 4**40)
    after = time.time() * 1000
    with state.db.begin() as connection:
        due = connection.execute(text("SELECT not_before FROM jobs")).scalar_one() - jobs.LONGEST_PAUSE * 1000
        assert before - 1 <= due <= after + 1
        connection.execute(text("UPDATE jobs SET not_before = not_before - 60000"))
    assert claim(state) is not None


def test_clock_that_is_set_back_holds_nothing_up(state: State) -> None:
    """What was asked and done by a clock an hour ahead is no reason to wait for that hour: reports, turns, chores."""
    for name in ("early", "late"):
        state.organization(name, name)
    early, late = (state.caller(state.key(name)) for name in ("early", "late"))
    state.ask(early, 1)
    assert claim(state) is not None
    assert jobs.claim_chore(state.db, "sweep", 60)
    with state.db.begin() as connection:
        connection.execute(text("UPDATE chores SET due_at = due_at + 3600000"))
        connection.execute(text("UPDATE organizations SET served_at = served_at + 3600000 WHERE name = 'early'"))
    state.ask(early, 2)
    state.ask(late, 1)
    with state.db.begin() as connection:
        connection.execute(text("UPDATE jobs SET not_before = not_before + 3600000"))
    assert jobs.claim_chore(state.db, "sweep", 60)
    assert not jobs.claim_chore(state.db, "sweep", 60)
    assert [next(iter(each.channels)) for each in (claim(state), claim(state)) if each] == ["early", "late"]


def test_lease_by_a_clock_that_was_set_back_runs_out(state: State) -> None:
    """Of a worker that died while the clock was two days ahead the job is not kept for these two days."""
    state.organization("demo")
    asked = state.ask(state.caller(state.key("demo")))
    assert claim(state) is not None
    assert deaths.requeue_overdue(state.db, 30) == ()
    with state.db.begin() as connection:
        connection.execute(text("UPDATE jobs SET leased_until = leased_until + 49 * 3600000"))
    assert deaths.requeue_overdue(state.db, 30) == (asked.id,)
    assert claim(state) is not None


def test_given_back_counts_as_nothing(state: State) -> None:
    """A worker that stops in good order costs the report neither a failure nor a loss; the attempt's number goes up."""
    state.organization("demo")
    asked = state.ask(state.caller(state.key("demo")))
    for number in range(1, 6):
        taken = claim(state)
        assert taken is not None
        assert (taken.attempt, taken.failures) == (number, 0)
        assert jobs.give_back(state.db, taken)
    found = backlog.get_entry(state.db, asked.id)
    assert (found.attempts, found.failures, found.deaths, found.losses) == (5, 0, 0, 0)


def test_a_job_that_was_too_long_for_an_express_slot_is_for_others_alone(state: State) -> None:
    """It keeps its place in the queue, is due at once, and nothing is counted against it but its attempt."""
    state.organization("demo")
    caller = state.caller(state.key("demo"))
    long, short = state.ask(caller, 1), state.ask(caller, 2)
    taken = jobs.claim(state.db, "worker", running=9, lease_seconds=30, express=True)
    assert taken is not None
    assert taken.report_id == long.id
    assert jobs.postpone(state.db, taken)
    assert not jobs.postpone(state.db, taken)
    beside = jobs.claim(state.db, "worker", running=9, lease_seconds=30, express=True)
    assert beside is not None
    assert beside.report_id == short.id
    assert jobs.claim(state.db, "worker", running=9, lease_seconds=30, express=True) is None
    again = claim(state, running=9)
    assert again is not None
    assert (again.report_id, again.attempt, again.failures) == (long.id, 2, 0)
    assert jobs.give_back(state.db, again)
    assert jobs.claim(state.db, "worker", running=9, lease_seconds=30, express=True) is None


def test_versions_are_pinned_once_and_kept(state: State) -> None:
    """The second attempt reads what the first one pinned."""
    state.organization("demo")
    state.ask(state.caller(state.key("demo")))
    first = claim(state)
    assert first is not None
    assert first.versions is None
    assert jobs.pin_versions(state.db, first, {"plays": 4, "channels": 1})
    assert jobs.retry(state.db, first, "x", 0)
    second = claim(state)
    assert second is not None
    assert second.versions == {"plays": 4, "channels": 1}
    assert not jobs.pin_versions(state.db, second, {"plays": 5})


def test_cancelled_report_fails_at_once_and_its_worker_finds_out(state: State) -> None:
    """Waiting or running, a cancelled report has failed, with the reason; once ended it can't be cancelled."""
    state.organization("demo")
    caller = state.caller(state.key("demo"))
    runs, waits = state.ask(caller, 1), state.ask(caller, 2)
    taken = claim(state)
    assert taken is not None
    for asked in (runs, waits):
        assert jobs.cancel(state.db, asked.id, "cancelled", state.now)
        assert told(state, asked.id)[:2] == ("FAILED", "cancelled")
        assert not jobs.cancel(state.db, asked.id, "cancelled", state.now)
    assert not jobs.find_held(state.db, [taken])
    assert not jobs.finish(state.db, taken, FILE, state.now)


def test_chore_is_done_once_across_processes(state: State) -> None:
    """Of many that ask whether a chore is due, one is told so; later it is due again."""
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: jobs.claim_chore(state.db, "sweep", 60), range(16))) == 1
    assert jobs.claim_chore(state.db, "other", 0.05)
    time.sleep(0.1)
    assert jobs.claim_chore(state.db, "other", 60)


def test_sweep_ends_what_is_over_and_keeps_what_is_not(state: State) -> None:
    """After its time a report is EXPIRED with its file gone, also one that still waits; a failed one stays failed."""
    state.organization("demo")
    caller = state.caller(state.key("demo"))
    asked = [state.ask(caller, day) for day in (1, 2, 3)]
    state.settings.files_root.mkdir()
    finished, failed = claim(state), claim(state)
    assert finished is not None
    assert failed is not None
    path = state.settings.files_root / f"{finished.report_id}-1.csv"
    path.write_text("views\n")
    jobs.finish(state.db, finished, FileRecord(path.name, 0, 6, "ab"), state.now)
    jobs.fail(state.db, failed, "x", state.now)
    assert retention.sweep(state.db, state.settings, state.now + timedelta(hours=47)) == 0
    assert path.exists()
    assert retention.sweep(state.db, state.settings, state.now + timedelta(hours=48)) == 2
    assert not path.exists()
    assert [told(state, each.id)[0] for each in asked] == ["EXPIRED", "FAILED", "EXPIRED"]
    assert claim(state) is None
    looked = report_access.find_report(state.db, caller, asked[0].token, state.now)
    assert looked is not None
    assert looked.status is ReportStatus.EXPIRED
    retention.sweep(state.db, state.settings, state.now + timedelta(days=40))
    assert report_access.find_report(state.db, caller, asked[0].token, state.now) is None


def test_sweep_leaves_off_when_its_process_stops(state: State) -> None:
    """That thousands of reports are over after days without a service keeps no process from its end."""
    state.organization("demo")
    caller = state.caller(state.key("demo"))
    asked = [state.ask(caller, day) for day in (1, 2, 3)]
    state.settings.files_root.mkdir()
    orphan = state.settings.files_root / "nobody000000-1.csv"
    orphan.touch()
    over, stops = state.now + timedelta(hours=48), iter([False, True])
    assert retention.sweep(state.db, state.settings, over, lambda: next(stops)) == 1
    assert sorted(told(state, each.id)[0] for each in asked) == ["EXPIRED", "IN_PROGRESS", "IN_PROGRESS"]
    retention.remove_orphans(state.db, state.settings, lambda: True)
    assert orphan.exists()
    assert retention.sweep(state.db, state.settings, over) == 2
    assert not orphan.exists()


def test_only_orphans_are_cleaned_away(state: State) -> None:
    """Files of finished reports and of running attempts stay, and so does what isn't ours."""
    state.organization("demo")
    caller = state.caller(state.key("demo"))
    state.ask(caller, 1)
    state.ask(caller, 2)
    done, runs = claim(state), claim(state)
    assert done is not None
    assert runs is not None
    root = state.settings.files_root
    root.mkdir()
    jobs.finish(state.db, done, FileRecord(f"{done.report_id}-1.csv", 1, 2, "ab"), state.now)
    kept = {f"{done.report_id}-1.csv", f"{runs.report_id}-1.part", f"{runs.report_id}-1.csv", "notes.txt"}
    gone = {f"{done.report_id}-2.part", f"{runs.report_id}-0.csv", "nobody00-1.csv"}
    for name in kept | gone:
        (root / name).touch()
    assert retention.remove_orphans(state.db, state.settings) == 3
    assert {path.name for path in root.iterdir()} == kept


def test_files_older_than_the_state_are_nobodys_to_clean_away(state: State) -> None:
    """They are of a state that was lost: neither a new one without an organization deletes them, nor one with some."""
    root = state.settings.files_root
    root.mkdir()
    for name in ("older000-1.csv", "ofnow000-1.csv"):
        (root / name).touch()
    os.utime(root / "older000-1.csv", (0, 0))
    assert retention.remove_orphans(state.db, state.settings) == 0
    state.organization("demo")
    assert retention.remove_orphans(state.db, state.settings) == 1
    assert [path.name for path in root.iterdir()] == ["older000-1.csv"]
    (found,) = [each for each in run_checks(state.settings) if each.subject == "files"]
    assert not found.well
    assert found.sentence.startswith(
        "1 file belongs to no report, of which 1 is older than the state, such as older000"
    )
