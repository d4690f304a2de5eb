"""Child processes of the service: run one to its end, restart it with backoff, stop it."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import structlog

from reelport.storage.durable import describe_os_error

_LEAST_PAUSE, _LONGEST_PAUSE, _GROWTH = 0.1, 10.0, 1.5
_STABLE_SECONDS = 30.0
"""A process that lived longer than this is restarted after the shortest pause."""
POLL_SECONDS = 0.05
_IDLE_SECONDS = 1.0
"""Seconds between two checks whether a process is needed."""
_LOG = structlog.get_logger(__name__)

Ended = dict[str, int | str]
"""How a process ended, for the log: pid and status, or the reason why it didn't start. Empty: it was done."""


@contextmanager
def run_threads(name: str, works: Sequence[Callable[[], None]], stopping: threading.Event) -> Iterator[None]:
    """Run each of these in a thread during the block; then set `stopping` and wait for them."""
    threads = [threading.Thread(target=work, name=f"{name}-{number}", daemon=True) for number, work in enumerate(works)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopping.set()
        for thread in threads:
            thread.join()


def keep_running(
    what: str, run: Callable[[], Ended], stopping: threading.Event, is_needed: Callable[[], bool] = lambda: True
) -> None:
    """Run a process again and again until `stopping`, with backoff after early deaths."""
    pause = _LEAST_PAUSE / _GROWTH
    while not stopping.is_set():
        if not is_needed():
            stopping.wait(_IDLE_SECONDS)
            continue
        started = time.monotonic()
        ended = run()
        if stopping.is_set():
            return
        is_stable = time.monotonic() - started > _STABLE_SECONDS or not ended
        pause = _LEAST_PAUSE if is_stable else min(pause * _GROWTH, _LONGEST_PAUSE)
        if ended:
            _LOG.warning(f"{what} ended", **ended, restart_in=round(pause, 2))
        stopping.wait(pause)


def run_process(
    start: Callable[[], subprocess.Popen[bytes]], stopping: threading.Event, patience: float
) -> subprocess.Popen[bytes] | Ended:
    """Run a process to its end or until `stopping`; then by SIGKILL after `patience` seconds.

    Its standard input is open meanwhile, so that it notices when this process has ended.
    """
    process = start_process(start)
    if isinstance(process, dict):
        return process
    while process.poll() is None and not stopping.wait(POLL_SECONDS):
        pass
    if process.poll() is None:
        process.terminate()
        stop_process(process, patience)
    if process.stdin is not None:
        process.stdin.close()
    return process


def start_process(start: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes] | Ended:
    """Start a process; say why it could not be started."""
    try:
        return start()
    except OSError as error:  # too many processes or open files, too little memory: all of that passes
        return {"reason": f"it could not be started: {describe_os_error(error)}"}


def stop_process(process: subprocess.Popen[bytes], patience: float) -> None:
    """Wait for a process that was told to end; kill it after `patience` seconds."""
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
