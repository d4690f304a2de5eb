"""Processes of the service: how they end, and how children are run, restarted and stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import structlog

from reelport.storage.durable import describe_os_error

_THREADS = Path("/proc/self/task")
_LEAST_PAUSE, _LONGEST_PAUSE, _GROWTH = 0.1, 10.0, 1.5
_STABLE_SECONDS = 30.0
"""A process that lived longer than this is restarted after the shortest pause."""
POLL_SECONDS = 0.05
_IDLE_SECONDS = 1.0
"""Seconds between two checks whether a process is needed."""
_LOG = structlog.get_logger(__name__)

Ended = dict[str, int | str]
"""How a process ended, for the log: pid and status, or the reason why it didn't start. Empty: it was done."""


class _Told:
    is_ending = False


def exit_process(*_: object) -> NoReturn:
    """Exit through every open `with` block; a signal handler.

    The web server takes the signal first, ends its requests, and raises the signal again. Python may drop the exception
    where a callback happens to run, of a weak reference as its imports have, and a library may catch it: so whoever
    begins to serve, or to wait, asks `is_ending` first.
    """
    _Told.is_ending = True
    raise SystemExit(0)


def is_ending() -> bool:
    """Whether `exit_process` was called."""
    return _Told.is_ending


def wait_for_end() -> None:
    """Wait in the main thread until `exit_process` is called, or return where it was."""
    while not _Told.is_ending:
        signal.pause()


def exit_with_parent() -> None:
    """Exit once the parent process has ended, which closes standard input."""

    def wait() -> None:
        # Not `sys.stdin.read`: a thread that waits in it holds the buffer's lock, which breaks the interpreter's exit.
        while os.read(sys.stdin.fileno(), 1024):
            pass
        # At once, as if killed: nobody supervises this process any more, and a new service may be starting already.
        os._exit(1)

    threading.Thread(target=wait, name="parent", daemon=True).start()


def lower_priority(steps: int) -> None:
    """Lower the priority of this process's threads, and of later ones, by steps of nice(1)."""
    lowered: set[int] = set()
    nice = os.getpriority(os.PRIO_PROCESS, 0) + steps
    # On Linux each thread has a priority of its own. Threads that others start meanwhile are found in the next round.
    while new := _list_threads() - lowered:
        for thread in new:
            with suppress(ProcessLookupError):  # it has ended meanwhile
                os.setpriority(os.PRIO_PROCESS, thread, nice)
        lowered |= new
    if not lowered:
        os.nice(steps)


def idle_foreign_threads() -> None:
    """Let threads that Python didn't start run only on cores that nothing else wants."""
    # They are an engine's. Python's own threads hold locks for which others wait.
    own = {thread.native_id for thread in threading.enumerate()}
    for thread in _list_threads() - own:
        with suppress(ProcessLookupError):  # it has ended meanwhile
            os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))


def _list_threads() -> set[int]:
    try:
        return {int(each.name) for each in _THREADS.iterdir()}
    except OSError:
        return set()


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
    """Run a process to its end or until `stopping`, then by SIGKILL after `patience` seconds."""
    try:
        process = start()
    except OSError as error:  # too many processes or open files, too little memory: all of that passes
        return {"reason": f"it could not be started: {describe_os_error(error)}"}
    while process.poll() is None and not stopping.wait(POLL_SECONDS):
        pass
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdin is not None:
        process.stdin.close()
    return process
