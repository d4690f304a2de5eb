"""A process that is frozen while it keeps the state locked: with real processes and a real state."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pytest
from sqlalchemy import text
from tests import forked
from tests.patience import until

from reelport.server.queue.lock_watch import FROZEN_LOOKS, LockWatch
from reelport.server.queue.supervisor import run_workers
from reelport.server.settings import Settings, read_settings
from reelport.server.state.database import connect, connected, write
from reelport.server.state.lock_holder import find_holder

_HOLDS = """
import sys
from sqlalchemy import text
from reelport.server.settings import read_settings
from reelport.server.state.database import connect, writing
with writing(connect(read_settings())) as connection:
    connection.execute(text("INSERT INTO chores (name, due_at) VALUES ('uncommitted', 1)"))
    print("ready", flush=True)
    sys.stdin.read()
"""


class Process(Protocol):
    """A running program."""

    pid: int

    def poll(self) -> int | None:
        """Its status, if it has ended."""

    def kill(self) -> None:
        """End it."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a state that is there."""
    found = read_settings(data=tmp_path / "data")
    connect(found).dispose()
    return found


@contextmanager
def writer(settings: Settings, *, ours: bool = True) -> Iterator[Process]:
    """A process that is in the middle of a transaction: a child of this one, or somebody else's."""
    environment = {**os.environ, **settings.environment()}
    with (
        subprocess.Popen(
            [sys.executable, "-c", _HOLDS],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if ours
        else forked.Popen(
            ["-c", _HOLDS],
            env=environment,
            stdin=forked.PIPE,
            stdout=forked.PIPE,
            loads=forked.COMMANDS,
        )
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()  # one that is stopped would be waited for without end


def stop(pid: int, lock: Path) -> None:
    """Stop a process; returns once all of its threads are stopped."""
    os.kill(pid, signal.SIGSTOP)
    assert until(lambda: (found := find_holder(lock)) is not None and found.is_stopped)


def lock_of(settings: Settings) -> Path:
    """The file whose lock a writer holds."""
    return settings.state_file.with_name("state.db-writer")


def test_a_frozen_child_that_keeps_the_state_locked_is_ended(settings: Settings) -> None:
    """It is excused before it is killed, what it had not committed is gone, and others write again."""
    alive_when_excused: list[int | None] = []
    with writer(settings) as process:
        stop(process.pid, lock_of(settings))
        watch = LockWatch(settings.state_file, lambda _pid: alive_when_excused.append(process.poll()))
        for _ in range(FROZEN_LOOKS):
            watch.look()
        assert process.poll() is None
        watch.look()
        assert until(lambda: process.poll() == -signal.SIGKILL)
    assert alive_when_excused == [None]
    with connected(settings) as db:
        count = text("SELECT count(*) FROM chores")
        assert write(db, lambda connection: connection.execute(count).scalar_one()) == 0


@pytest.mark.long
def test_a_service_without_workers_watches_too(settings: Settings) -> None:
    """It may have API processes, each of which can be stopped in the middle of an ask."""
    with run_workers(settings, 0), writer(settings) as process:
        stop(process.pid, lock_of(settings))
        assert until(lambda: process.poll() == -signal.SIGKILL)


def test_a_frozen_process_of_somebody_else_is_left(settings: Settings) -> None:
    """A command that an operator has stopped is the operator's to go on with."""
    excused: list[int] = []
    with writer(settings, ours=False) as process:
        stop(process.pid, lock_of(settings))
        watch = LockWatch(settings.state_file, excused.append)
        for _ in range(3 * FROZEN_LOOKS):
            watch.look()
        assert (process.poll(), excused) == (None, [])


def test_a_child_that_sleeps_is_left(settings: Settings) -> None:
    """It holds the lock and uses no CPU, as one does that waits for a disk or a reader."""
    excused: list[int] = []
    with writer(settings) as process:
        watch = LockWatch(settings.state_file, excused.append)
        for _ in range(3 * FROZEN_LOOKS):
            watch.look()
        assert (process.poll(), excused) == (None, [])


def test_a_child_that_goes_on_is_left(settings: Settings) -> None:
    """Also after many looks at which nothing had changed, when it does something before the last."""
    excused: list[int] = []
    with writer(settings) as process:
        watch = LockWatch(settings.state_file, excused.append)
        for _ in range(3):
            stop(process.pid, lock_of(settings))
            for _ in range(FROZEN_LOOKS):
                watch.look()
            os.kill(process.pid, signal.SIGCONT)
            assert until(lambda: (found := find_holder(lock_of(settings))) is not None and not found.is_stopped)
            watch.look()
        assert (process.poll(), excused) == (None, [])
