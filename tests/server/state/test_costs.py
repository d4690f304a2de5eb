"""What a token, a look and an ask cost the state in statements and commits; counts that only grow."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from sqlalchemy import Engine, event, text
from tests.server.conftest import State
from tests.server.syncs import count_syncs

from reelport.errors import StorageError
from reelport.server.files import retention
from reelport.server.files.report_files import FileRecord
from reelport.server.queue import deaths, jobs
from reelport.server.queue.jobs import Claim
from reelport.server.reports import removal, report_access
from reelport.server.state import tallies
from reelport.server.state.database import connect, reading, writing
from reelport.server.state.tallies import BOUNDS, Times

TALKING = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "PRAGMA")


@dataclass
class Seen:
    """What an engine was asked to do within a block."""

    statements: list[str] = field(default_factory=list)
    commits: int = 0


@contextmanager
def seen(db: Engine) -> Iterator[Seen]:
    """The statements and commits of an engine within the block, as SQLAlchemy tells of them."""
    found = Seen()

    def execute(_c: object, _cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith(TALKING):
            found.statements.append(statement)

    def commit(_: object) -> None:
        found.commits += 1

    event.listen(db, "before_cursor_execute", execute)
    event.listen(db, "commit", commit)
    try:
        yield found
    finally:
        event.remove(db, "before_cursor_execute", execute)
        event.remove(db, "commit", commit)


def test_a_token_costs_one_statement_and_writes_nothing(state: State) -> None:
    """A grant reads the key; who calls with the token is one statement more, its channels included."""
    state.organization("demo", *(f"c{number}" for number in range(300)))
    key = state.key("demo")
    with seen(state.db) as granting:
        token = state.token(key)
    assert len(granting.statements) == 1
    assert granting.statements[0].lstrip("- ").startswith("key:")
    with seen(state.db) as calling:
        caller = state.identify(token)
    assert len(calling.statements) == 1
    assert caller is not None
    assert len(caller.channels) == 300


def test_a_look_costs_one_statement(state: State) -> None:
    """Whatever the report's state."""
    state.organization("demo", "c1")
    caller = state.caller(state.key("demo"))
    asked = state.ask(caller)
    with seen(state.db) as looking:
        assert report_access.find_report(state.db, caller, asked.token, state.now) is not None
    assert len(looking.statements) == 1


def test_an_ask_costs_one_commit_and_the_same_ask_again_none(state: State) -> None:
    """A new one is looked for, looked for again where nobody else writes, and put down as a report and a job."""
    state.organization("demo", "c1")
    caller = state.caller(state.key("demo"))
    state.ask(caller, 2)
    with seen(state.db) as asking:
        asked = state.ask(caller)
    assert sum("INSERT INTO" in each for each in asking.statements) == 2
    on_postgresql = ("FOR UPDATE", "pg_notify")
    assert len([each for each in asking.statements if not any(word in each for word in on_postgresql)]) == 5
    with seen(state.db) as again:
        assert state.ask(caller).token == asked.token
    assert len(again.statements) == 1
    assert not any("INSERT" in each for each in again.statements)


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_an_ask_is_on_the_disk_before_anybody_is_answered_by_it(state: State) -> None:
    """Others may see it before: who asks the same then waits too, until the report is finished."""
    state.organization("demo", "c1")
    caller = state.caller(state.key("demo"))
    assert count_syncs(lambda: state.ask(caller)) == 1
    assert count_syncs(lambda: state.ask(caller)) == 1
    claims: list[jobs.Claim | None] = []
    assert count_syncs(lambda: claims.append(jobs.claim(state.db, "one", running=2, lease_seconds=30))) == 0
    claim = claims[0]
    assert claim is not None
    assert count_syncs(lambda: jobs.pin_versions(state.db, claim, {"plays": -1})) == 1
    assert count_syncs(lambda: state.ask(caller)) == 1
    state.settings.report_store.put("file.csv", b"day,views\n")
    file = FileRecord("file.csv", 0, 10, "")
    assert count_syncs(lambda: jobs.finish(state.db, claim, file, state.now)) == 1
    assert count_syncs(lambda: state.ask(caller)) == 0  # whoever is told of its end sees to that


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_an_error_is_its_own_threads_alone(state: State) -> None:
    """Of writers that wait in line together the failing one leaves nothing, and the others are whole."""

    def put(number: int) -> int:
        with writing(state.db) as connection:
            connection.execute(text("INSERT INTO chores (name, due_at) VALUES (:name, 1)"), {"name": f"n{number}"})
            if number % 3 == 0:
                raise ValueError(number)
            if number % 3 == 1:
                connection.execute(text("INSERT INTO chores (name, due_at) VALUES (:name, 1)"), {"name": f"n{number}"})
            return number

    with ThreadPoolExecutor(30) as threads:
        with writing(state.db):
            done = [threads.submit(put, number) for number in range(30)]
        outcomes = [each.exception() for each in done]
    assert [type(each).__name__ for each in outcomes] == ["ValueError", "IntegrityError", "NoneType"] * 10
    assert [each.result() for each in done[2::3]] == list(range(2, 30, 3))
    with reading(state.db) as connection:
        kept = connection.execute(text("SELECT name FROM chores WHERE name LIKE 'n%'")).scalars().all()
    assert sorted(kept) == sorted(f"n{number}" for number in range(2, 30, 3))


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_a_state_that_goes_away_fails_everyone_in_the_line(state: State) -> None:
    """None of them is told that its work is kept, and the line goes on once the state is back."""

    def write() -> int:
        with writing(state.db):
            return 2

    away = state.settings.data.rename(state.settings.data.with_name("away"))
    with ThreadPoolExecutor(5) as threads:
        done = [threads.submit(write) for _ in range(5)]
        assert {type(each.exception()) for each in done} == {StorageError}
    away.rename(state.settings.data)
    assert write() == 2


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_writers_of_two_processes_take_turns(state: State) -> None:
    """With as many threads on two engines as two processes would have, every one of their updates counts."""
    other = connect(state.settings)
    with writing(state.db) as connection:
        connection.execute(text("INSERT INTO chores (name, due_at) VALUES ('sum', 0)"))

    def add(db: Engine) -> None:
        with writing(db) as connection:
            found = connection.execute(text("SELECT due_at FROM chores WHERE name = 'sum'")).scalar_one()
            connection.execute(text("UPDATE chores SET due_at = :next WHERE name = 'sum'"), {"next": found + 1})

    with ThreadPoolExecutor(12) as threads:
        for done in [threads.submit(add, db) for _ in range(50) for db in (state.db, other)]:
            done.result()
    with reading(other) as connection:
        assert connection.execute(text("SELECT due_at FROM chores WHERE name = 'sum'")).scalar_one() == 100
    other.dispose()


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
    removal.remove_organization(state.db, state.settings, "demo")
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
