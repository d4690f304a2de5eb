"""How tests wait: for a condition, and so long that only what hangs is given up."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import IO

PATIENCE = 300.0
"""Seconds after which a test takes what it waits for as hanging; no promise about how long anything takes."""

_PROCESSES = 16
"""More than run tests at once on one machine."""


def until(true: Callable[[], object], seconds: float = PATIENCE, *, pause: float = 0.02) -> bool:
    """Wait for a condition; whether it came true before the patience was over.

    A look that starts programs takes a longer pause before the next, or it keeps a core busy for as long as it waits.
    """
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
    return True


def free_port() -> int:
    """A port that nobody has, below those that the system gives out by itself: so it stays free for a moment.

    Each process that runs tests has ports of its own, as two may look for one at the same moment.
    """
    own = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _PROCESSES
    while True:
        port = random.randrange(20_000 + own, 32_000, _PROCESSES)  # noqa: S311 - keeps no secret
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextmanager
def child(program: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Run a Python program in a process of its own, once it has said `ready`; it is gone when the block ends.

    What may end a process, a signal above all, is tried on such a one: never on that which runs the tests.
    """
    command = [sys.executable, "-c", program, *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            hear_ready(process.stdout, process.stderr)
            yield process
        finally:
            process.kill()


def hear_ready(out: IO[str] | None, err: IO[str] | None) -> None:
    """Wait until such a process has said `ready`; AssertionError with what it said instead."""
    assert out is not None
    assert err is not None
    assert out.readline() == "ready\n", err.read()


def end_of(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """The status of such a process once it has ended, and what is left of its stdout and its stderr.

    `communicate` would lose what came together with a line that was read before.
    """
    assert process.stdout is not None
    assert process.stderr is not None
    out, err = process.stdout.read(), process.stderr.read()
    return process.wait(PATIENCE), out, err


def run_child(program: str, *words: str) -> str:
    """What such a program prints after it has said `ready`, when it comes to an end by itself with status 0."""
    with child(program, *words) as process:
        status, out, err = end_of(process)
    assert status == 0, err
    return out


def count_calls(work: Callable[[], object]) -> int:
    """How many functions are called while a piece of work is done, in Python or in C.

    This is what work costs on whatever machine and however busy it is, where seconds tell of the machine.
    """
    calls = 0

    def note(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return calls
