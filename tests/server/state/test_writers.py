"""The turns of a process's writers: what becomes of those that wait when one is interrupted."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine
from tests.forked import run_child
from tests.patience import PATIENCE

from reelport.server.settings import read_settings
from reelport.server.state import sqlite_engine
from reelport.server.state.database import connected, writing
from reelport.server.state.write_ahead import Journal

_INTERRUPTED = """
import signal, sys, threading, time
from pathlib import Path
from reelport.server.settings import read_settings
from reelport.server.state.database import connect, writing
db = connect(read_settings(data=Path(sys.argv[1])))
held, let_go, done = threading.Event(), threading.Event(), []
def write(name):
    with writing(db):
        done.append(name)
def hold():
    with writing(db):
        held.set()
        let_go.wait()
def wait_for_turn_of(thread):
    while sys._current_frames()[thread.ident].f_code.co_name != "_take_turn":
        time.sleep(0.01)
def interrupt():
    main = threading.main_thread()
    wait_for_turn_of(main)
    behind = threading.Thread(target=write, args=("behind",))
    behind.start()
    wait_for_turn_of(behind)
    signal.pthread_kill(main.ident, signal.SIGINT)
    let_go.set()
    behind.join()
threads = [threading.Thread(target=hold), threading.Thread(target=interrupt)]
print("ready", flush=True)
threads[0].start()
held.wait()
threads[1].start()
try:
    write("interrupted")
except KeyboardInterrupt:
    for each in threads:
        each.join()
write("later")
print(done)
"""

_INTERRUPTED_AT_ITS_TURN = """
import signal, sys, threading, time
from pathlib import Path
from reelport.server.settings import read_settings
from reelport.server.state.database import connect, writing
db = connect(read_settings(data=Path(sys.argv[1])))
main, held = threading.main_thread(), threading.Event()
def hold_then_interrupt():
    with writing(db, synced=False):
        held.set()
        while sys._current_frames()[main.ident].f_code.co_name != "_take_turn":
            time.sleep(0.01)
        sys.setswitchinterval(10)
    keep_python()
    signal.pthread_kill(main.ident, signal.SIGINT)
    keep_python()
def keep_python():
    until = time.monotonic() + 0.05
    while time.monotonic() < until:
        pass
thread = threading.Thread(target=hold_then_interrupt)
print("ready", flush=True)
thread.start()
held.wait()
try:
    with writing(db):
        print("written")
except KeyboardInterrupt:
    print("interrupted")
thread.join()
with writing(db):
    print("later")
"""


def test_a_writer_that_is_interrupted_keeps_nobody_waiting(tmp_path: Path) -> None:
    """Its work is not written, and who stands behind it writes in its place."""
    assert run_child(_INTERRUPTED, str(tmp_path / "data")) == "['behind', 'later']\n"


def test_a_writer_that_is_interrupted_as_its_turn_comes_keeps_nobody_waiting(tmp_path: Path) -> None:
    """It has the lock of the turn already, and not yet Python's."""
    assert run_child(_INTERRUPTED_AT_ITS_TURN, str(tmp_path / "data")) == "interrupted\nlater\n"


def test_readers_get_a_turn_between_processes_with_the_rollback_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit keeps them out there: who waited for another process's leaves them a while before its own."""
    monkeypatch.setattr(sqlite_engine, "choose_journal", lambda _: Journal("TRUNCATE", "as a test says"))
    monkeypatch.setattr(sqlite_engine, "_READ_SECONDS", 0.5)
    settings = read_settings(data=tmp_path / "data")

    def write_and_tell(db: Engine) -> float:
        with writing(db):
            return time.monotonic()

    with connected(settings) as db, connected(settings) as other, ThreadPoolExecutor(1) as thread:
        with writing(other):
            began = thread.submit(write_and_tell, db)
            with pytest.raises(TimeoutError):
                began.result(0.2)
            let_go_at = time.monotonic()
        assert began.result(PATIENCE) >= let_go_at + 0.5
