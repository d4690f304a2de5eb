"""The line of a process's writers: who is answered when, and what becomes of it when one of them is interrupted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, create_engine
from tests.patience import PATIENCE, run_child, until

from reelport.server.state.write_queue import WriteQueue


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
