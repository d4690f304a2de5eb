"""How a process of the service ends, by a signal or with its parent, and its priority."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

_THREADS = Path("/proc/self/task")


class _Told:
    """Whether this process was told to end."""

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
    threading.Thread(target=_wait_for_parent, name="parent", daemon=True).start()


def _wait_for_parent() -> None:
    # Not `sys.stdin.read`: a thread that waits in it holds the buffer's lock, which breaks the interpreter's exit.
    while os.read(sys.stdin.fileno(), 1024):
        pass
    # Exit at once, as if killed: nobody supervises this process any more, and a new service may be starting already.
    os._exit(1)


def lower_priority(steps: int) -> None:
    """Lower the priority of this process, of all of its threads, by so many steps of nice(1).

    A thread that starts later has the priority of the one that starts it.
    """
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
    """Let threads that Python didn't start run only on cores that nothing else wants.

    They are an engine's. Python's own threads hold locks for which others wait.
    """
    own = {thread.native_id for thread in threading.enumerate()}
    for thread in _list_threads() - own:
        with suppress(ProcessLookupError):  # it has ended meanwhile
            os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))


def _list_threads() -> set[int]:
    """List the threads of this process; none where the system doesn't tell."""
    try:
        return {int(each.name) for each in _THREADS.iterdir()}
    except OSError:
        return set()
