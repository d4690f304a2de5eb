"""Requests that only read are answered on the event loop, unless that could keep others waiting."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from sqlalchemy import Engine, event, text
from tests.server.api import Api

from reelport.server.settings import Settings, read_settings
from reelport.server.state.database import StateBusy, connect, reading
from reelport.server.state.reads import Reads
from reelport.wire import LOOK


@contextmanager
def threads_of(api: Api) -> Iterator[set[str]]:
    """The names of the threads in which statements run within the block."""
    found: set[str] = set()

    def note(*_: object) -> None:
        found.add(threading.current_thread().name)

    engines = [api.service.db, *filter(None, [api.service.reads._reader])]  # noqa: SLF001 - to watch it
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        for engine in engines:
            event.remove(engine, "before_cursor_execute", note)


def test_a_known_look_takes_no_thread(api: Api) -> None:
    """A token and the second look of a text run where requests are read; what is new, long or writes does not."""
    token = api.finished()
    api.graphql(LOOK, {"reportToken": token})
    with threads_of(api) as inline:
        looked = api.graphql(LOOK, {"reportToken": token})
        assert api.grant().status_code == 200
    assert looked["data"]["partner"]["reportFile"]["status"] == "FINISHED"
    assert len(inline) == 1
    with threads_of(api) as asking:
        api.ask(**api.new())
    assert asking > inline
    with threads_of(api) as new:
        api.graphql(LOOK + "# new\n", {"reportToken": token})
    assert new > inline
    many = (
        "{" + " ".join(f'a{i}: partner {{ reportFile(reportToken: "{token}") {{ status }} }}' for i in range(20)) + "}"
    )
    api.graphql(many)
    with threads_of(api) as long:
        api.graphql(many)
    assert long > inline


@contextmanager
def committing(settings: Settings) -> Iterator[None]:
    """Another process's connection in the middle of a commit."""
    other = sqlite3.connect(settings.state_file, isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        yield
    finally:
        other.close()


def test_a_look_and_a_token_wait_for_nobody_who_commits(api: Api) -> None:
    """With the write-ahead log they are answered meanwhile."""
    token = api.finished()
    before = api.graphql(LOOK, {"reportToken": token})
    with committing(api.service.settings):
        looked = api.graphql(LOOK, {"reportToken": token})
        assert api.grant().status_code == 200
    looked, before = (each["data"]["partner"]["reportFile"] for each in (looked, before))
    assert looked["status"] == before["status"]


def test_with_the_rollback_journal_a_read_waits_for_the_commit(tmp_path: Path) -> None:
    """It finds the state busy, which nobody is told of, and is done once the commit is over."""
    settings = read_settings(data=tmp_path)
    db = connect(settings)
    db.dispose()
    with closing(sqlite3.connect(settings.state_file)) as state:
        assert state.execute("PRAGMA journal_mode = TRUNCATE").fetchone() == ("truncate",)
    busy, done = anyio.Event(), []

    def read(reader: Engine) -> None:
        try:
            with reading(reader) as connection:
                done.append(connection.execute(text("SELECT count(*) FROM reports")).scalar())
        except StateBusy:
            busy.set()
            raise

    async def main() -> None:
        reads = Reads(db, settings)
        async with anyio.create_task_group() as tasks:
            with committing(settings):
                tasks.start_soon(reads.run, read)
                await busy.wait()
                assert done == []
        reads.close()

    anyio.run(main)
    assert done == [0]


def test_only_one_of_those_that_wait_tries_again(api: Api) -> None:
    """Of fifty reads that find the state busy one looks again and again; then all are read at once, in their order.

    A caller that goes away, though it be the one that looks for all, keeps nobody waiting.
    """

    async def main() -> tuple[list[int], int]:
        reads = Reads(api.service.db, api.service.settings)
        tries = 0
        busy = True
        order: list[int] = []

        def read(_: Engine, number: int) -> None:
            nonlocal tries
            tries += 1
            if busy:
                raise StateBusy("Somebody commits.")
            order.append(number)

        async def leave(reads: Reads, scope: anyio.CancelScope) -> None:
            with scope:
                await reads.run(read, -1)

        async with anyio.create_task_group() as tasks:
            gone = anyio.CancelScope()
            tasks.start_soon(leave, reads, gone)
            await anyio.lowlevel.checkpoint()
            for number in range(50):
                tasks.start_soon(reads.run, read, number)
            for looks in range(20):
                await anyio.sleep(0.002)
                if looks == 10:
                    gone.cancel()
            busy = False
        reads.close()
        return order, tries

    order, tries = anyio.run(main)
    assert order == list(range(50))
    assert tries < 1 + 30 + 50


@pytest.mark.parametrize("document", ["{ __schema { types { name } } }", "mutation { __typename }"])
def test_introspection_and_mutations_are_no_short_reads(api: Api, document: str) -> None:
    """The first is long, the second writes: a thread takes them, however often they come."""
    api.graphql(document)
    operation = api.service.documents.find_prepared(document, None)
    assert operation is not None
    assert not operation.is_short_read
