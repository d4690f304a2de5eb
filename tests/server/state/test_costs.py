"""What a token, a look and an ask cost the state: how many statements they execute, and how many commits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from sqlalchemy import Connection, Engine, event, text
from tests.server.conftest import State
from tests.server.syncs import count_syncs

from reelport.errors import StorageError
from reelport.server.access import callers
from reelport.server.files.report_files import FileRecord
from reelport.server.queue import jobs
from reelport.server.reports import report_access
from reelport.server.state.database import connect, reading, write, writing
from reelport.server.state.sqlite_engine import MOST

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
        caller = callers.identify_caller(state.db, state.service_secret, token, state.now)
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
def test_asks_of_a_moment_share_a_commit(state: State) -> None:
    """While one transaction is open twenty asks wait in line; then one more transaction writes them all."""
    callers = []
    for number in range(20):
        state.organization(f"partner-{number}", f"c{number}")
        callers.append(state.caller(state.key(f"partner-{number}")))
    with seen(state.db) as asking, ThreadPoolExecutor(20) as threads:
        with writing(state.db):
            asked = [threads.submit(state.ask, caller) for caller in callers]
            _wait_for(lambda: sum("same" in each for each in asking.statements) == 20, asking)
            before = asking.commits
        tokens = {each.result().token for each in asked}
    assert len(tokens) == 20
    # The open one, and those of a straggler or two between its look and its place in the line.
    assert asking.commits - before <= 5
    with reading(state.db) as connection:
        assert connection.execute(text("SELECT count(*) FROM jobs")).scalar_one() == 20


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_an_error_in_a_shared_commit_is_its_own_threads_alone(state: State) -> None:
    """Of pieces of work that go to the disk together the failing one leaves nothing, and the others are whole."""

    def put(connection: Connection, number: int) -> int:
        connection.execute(text("INSERT INTO chores (name, due_at) VALUES (:name, 1)"), {"name": f"n{number}"})
        if number % 3 == 0:
            raise ValueError(number)
        if number % 3 == 1:
            connection.execute(text("INSERT INTO chores (name, due_at) VALUES (:name, 1)"), {"name": f"n{number}"})
        return number

    with ThreadPoolExecutor(30) as threads:
        with writing(state.db):
            done = [threads.submit(write, state.db, lambda c, n=number: put(c, n)) for number in range(30)]
        outcomes = [each.exception() for each in done]
    assert [type(each).__name__ for each in outcomes] == ["ValueError", "IntegrityError", "NoneType"] * 10
    assert [each.result() for each in done[2::3]] == list(range(2, 30, 3))
    with reading(state.db) as connection:
        kept = connection.execute(text("SELECT name FROM chores WHERE name LIKE 'n%'")).scalars().all()
    assert sorted(kept) == sorted(f"n{number}" for number in range(2, 30, 3))


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_a_state_that_goes_away_fails_everyone_in_the_line(state: State) -> None:
    """None of them is told that its work is kept, and the line goes on once the state is back."""
    away = state.settings.data.rename(state.settings.data.with_name("away"))
    with ThreadPoolExecutor(5) as threads:
        done = [threads.submit(write, state.db, lambda _: 1) for _ in range(5)]
        assert {type(each.exception()) for each in done} == {StorageError}
    away.rename(state.settings.data)
    assert write(state.db, lambda _: 2) == 2


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_writers_of_two_processes_take_turns(state: State) -> None:
    """With as many threads on two engines as two processes would have, every one of their updates counts."""
    other = connect(state.settings)
    with writing(state.db) as connection:
        connection.execute(text("INSERT INTO chores (name, due_at) VALUES ('sum', 0)"))

    def add(connection: Connection) -> None:
        found = connection.execute(text("SELECT due_at FROM chores WHERE name = 'sum'")).scalar_one()
        connection.execute(text("UPDATE chores SET due_at = :next WHERE name = 'sum'"), {"next": found + 1})

    with ThreadPoolExecutor(12) as threads:
        for done in [threads.submit(write, db, add) for _ in range(MOST) for db in (state.db, other)]:
            done.result()
    with reading(other) as connection:
        assert connection.execute(text("SELECT due_at FROM chores WHERE name = 'sum'")).scalar_one() == 2 * MOST
    other.dispose()


def _wait_for(condition: Callable[[], bool], found: Seen) -> None:
    until = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < until, found.statements
        time.sleep(0.01)
