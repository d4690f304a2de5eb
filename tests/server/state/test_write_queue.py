"""The line of a process's writers: who is answered when, and what becomes of it when one of them is interrupted."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, create_engine, text
from tests.forked import run_child
from tests.patience import PATIENCE, until

from reelport.errors import StorageError
from reelport.server.state.sqlite_engine import WriteQueue, begin_writing


def test_an_answer_waits_for_no_later_batch(tmp_path: Path) -> None:
    """Whose work another thread has written is told so while the next batch is being written."""
    db = create_engine(f"sqlite:///{tmp_path / 'state.db'}")
    queue, batches = WriteQueue(0), iter(range(100))
    began, gates = [threading.Event() for _ in range(100)], [threading.Event() for _ in range(100)]

    @contextmanager
    def begin() -> Iterator[Connection]:
        batch = next(batches)
        began[batch].set()
        gates[batch].wait(PATIENCE)
        with db.begin() as connection:
            yield connection

    with ThreadPoolExecutor(40) as threads:

        def submit(number: int) -> list[Future[int]]:
            return [threads.submit(queue.run, begin, lambda _: 1) for _ in range(number)]

        first = submit(1)
        assert began[0].wait(PATIENCE)
        second = submit(10)
        assert until(lambda: len(queue) == 10)
        gates[0].set()
        assert began[1].wait(PATIENCE)
        third = submit(20)
        assert until(lambda: len(queue) == 20)
        gates[1].set()
        assert began[2].wait(PATIENCE)
        assert [each.result(PATIENCE) for each in first + second] == [1] * 11
        assert not any(each.done() for each in third)
        gates[2].set()
        assert [each.result(PATIENCE) for each in third] == [1] * 20
        assert next(batches) == 3
    db.dispose()


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Engine]:
    """A database with a table of one number."""
    engine = create_engine(f"sqlite:///{tmp_path / 'state.db'}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE done (number INTEGER)"))
    yield engine
    engine.dispose()


def put(connection: Connection) -> None:
    """Write a number."""
    connection.execute(text("INSERT INTO done VALUES (1)"))


def count(db: Engine) -> int:
    """How many numbers are committed."""
    with db.connect() as connection:
        return int(connection.execute(text("SELECT count(*) FROM done")).scalar_one())


def test_who_writes_early_is_answered_after_the_sync_and_keeps_nobody_waiting(db: Engine) -> None:
    """Its commit is seen, and another one is made, while the disk still takes its time over it."""
    queue, began, over = WriteQueue(0), threading.Event(), threading.Event()

    def sync() -> None:
        began.set()
        assert over.wait(PATIENCE)

    with ThreadPoolExecutor(2) as threads:
        early = threads.submit(queue.run, db.begin, put, sync)
        assert began.wait(PATIENCE)
        assert count(db) == 1
        threads.submit(queue.run, db.begin, put).result(PATIENCE)
        assert count(db) == 2
        assert not early.done()
        over.set()
        early.result(PATIENCE)


def test_work_that_nobody_may_see_early_decides_for_its_batch(db: Engine) -> None:
    """It is committed as it would be alone. Early work syncs nevertheless: a commit of nothing syncs nothing."""
    queue, synced, begun = WriteQueue(0), [], []

    def begin(kind: str) -> AbstractContextManager[Connection]:
        begun.append(kind)
        return db.begin()

    with ThreadPoolExecutor(2) as threads:
        with queue.turn():
            early = threads.submit(queue.run, lambda: begin("early"), put, lambda: synced.append(1))
            assert until(lambda: len(queue) == 1)
            strict = threads.submit(queue.run, lambda: begin("strict"), put)
            assert until(lambda: len(queue) == 2)
        early.result(PATIENCE)
        strict.result(PATIENCE)
    assert begun == ["strict"]
    assert synced == [1]


def test_a_sync_that_fails_is_told_to_all_whose_work_it_was(db: Engine) -> None:
    """Nobody is answered as if it were on the disk; the next one is."""
    queue, failing = WriteQueue(0), [True]

    def sync() -> None:
        if failing.pop():
            raise StorageError("the disk is gone")

    with ThreadPoolExecutor(2) as threads:
        with queue.turn():
            both = [threads.submit(queue.run, db.begin, put, sync) for _ in range(2)]
            assert until(lambda: len(queue) == 2)
        for each in both:
            with pytest.raises(StorageError, match="gone"):
                each.result(PATIENCE)
    failing.append(False)
    queue.run(db.begin, put, sync)
    assert count(db) == 3


_INTERRUPTED = """
import signal, sys, threading, time
from pathlib import Path
from reelport.server.settings import read_settings
from reelport.server.state.database import connect, write, writing
db = connect(read_settings(data=Path(sys.argv[1])))
queue = db.get_execution_options()["write_queue"]
held, let_go, done = threading.Event(), threading.Event(), []
def hold():
    with writing(db):
        held.set()
        let_go.wait()
def wait_for(number):
    while len(queue) < number:
        time.sleep(0.01)
def interrupt():
    wait_for(1)
    behind = threading.Thread(target=lambda: done.append(write(db, lambda _: "behind")))
    behind.start()
    wait_for(2)
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    while len(queue) == 2:
        time.sleep(0.01)
    let_go.set()
    behind.join()
threads = [threading.Thread(target=hold), threading.Thread(target=interrupt)]
print("ready", flush=True)
threads[0].start()
held.wait()
threads[1].start()
try:
    write(db, lambda _: done.append("interrupted"))
except KeyboardInterrupt:
    for each in threads:
        each.join()
print(done, write(db, lambda _: "later"))
"""


def test_a_writer_that_is_interrupted_keeps_nobody_waiting(tmp_path: Path) -> None:
    """Its work is not written, and who stands behind it writes in its place."""
    assert run_child(_INTERRUPTED, str(tmp_path / "data")) == "['behind'] later\n"


def test_a_writer_whose_time_is_over_does_not_wait_once_more(tmp_path: Path) -> None:
    """It is tried every 2 ms, and then fails as locked: no wait of SQLite's own follows."""
    state, tried = tmp_path / "state.db", list[str]()
    with (
        closing(sqlite3.connect(state, isolation_level=None)) as other,
        closing(sqlite3.connect(state, isolation_level=None)) as writer,
    ):
        other.execute("BEGIN IMMEDIATE")
        writer.set_trace_callback(tried.append)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            begin_writing(writer, 0, 0)
    assert tried.count("BEGIN IMMEDIATE") == 1
