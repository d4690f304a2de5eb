"""Who holds a lock of a file: with real processes, as Linux tells it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.patience import until

from reelport.server.state.lock_holder import find_holder

_HOLDS = """
import fcntl, sys
file = open(sys.argv[1], "w")
fcntl.flock(file, getattr(fcntl, sys.argv[2]))
print("ready", flush=True)
sys.stdin.read()
"""


@contextmanager
def holding(file: Path, lock: str = "LOCK_EX") -> Iterator[int]:
    """A child of ours that holds such a lock; its process id."""
    command = [sys.executable, "-S", "-E", "-c", _HOLDS, str(file), lock]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process.pid
        finally:
            process.kill()  # one that is stopped would be waited for without end


def test_the_holder_of_an_exclusive_lock_is_found(tmp_path: Path) -> None:
    """With who started it; once it has ended nobody holds the lock."""
    file = tmp_path / "a lock"
    with holding(file) as pid:
        found = find_holder(file)
        assert found is not None
        assert (found.pid, found.parent) == (pid, os.getpid())
    assert find_holder(file) is None


def test_a_stopped_holder_is_told_as_stopped(tmp_path: Path) -> None:
    """Its CPU time then stands still."""
    file = tmp_path / "lock"
    with holding(file) as pid:
        os.kill(pid, signal.SIGSTOP)
        assert until(lambda: (found := find_holder(file)) is not None and found.is_stopped)
        assert find_holder(file) == find_holder(file)


@pytest.mark.parametrize("other", ["missing", "free"])
def test_nobody_holds_a_file_that_is_missing_or_free(tmp_path: Path, other: str) -> None:
    """A lock of another file says nothing of it, nor does one that many may share."""
    (tmp_path / "free").touch()
    with holding(tmp_path / "lock"), holding(tmp_path / "shared", "LOCK_SH"):
        assert find_holder(tmp_path / other) is None
        assert find_holder(tmp_path / "shared") is None
