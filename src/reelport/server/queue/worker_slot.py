"""Keeps one worker running, and replaces one that asks for it by a warm one.

A worker tells its supervisor by a pipe, a byte at a time, that it is ready and that it asks to be replaced. No report
waits for that: the old worker claims until the new one is ready, and then ends when it has made what it runs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from reelport.server.child_process import POLL_SECONDS, Ended, start_process, stop_process
from reelport.storage.durable import describe_os_error

READY, REPLACE = b"r", b"x"
RETIRE = signal.SIGUSR1
"""Tells a worker to claim no more, and to end when it has made what it runs."""
_AGAIN_SECONDS = 30.0
"""Seconds until a worker is replaced after its replacement ended before it was ready."""
_log = structlog.get_logger(__name__)

Start = Callable[[int], subprocess.Popen[bytes]]
"""Starts a worker, which is given the descriptor of its end of the pipe."""


@dataclass(eq=False)
class _Process:
    """A running worker, the supervisor's end of its pipe, and what it has said."""

    popen: subprocess.Popen[bytes]
    pipe: int
    began: float = field(default_factory=time.monotonic)
    said: bytes = b""

    def listen(self) -> None:
        """Read what it has said since the last call."""
        with suppress(BlockingIOError):
            self.said += os.read(self.pipe, 64)

    def close(self) -> None:
        """Close the pipes of a worker that has ended."""
        os.close(self.pipe)
        if self.popen.stdin is not None:
            self.popen.stdin.close()


class WorkerSlot:
    """One worker, its replacement that warms up, and replaced ones that still make reports.

    `died` is told the process id and the exit status of each worker that ended unasked.
    """

    def __init__(
        self, start: Start, died: Callable[[int, int], None], stopping: threading.Event, patience: float
    ) -> None:
        self._start = start
        self._died = died
        self._stopping = stopping
        self._patience = patience
        self._next: _Process | None = None
        self._next_at = float("-inf")
        self._retired: list[_Process] = []

    def run(self) -> Ended:
        """Run workers one after the other until one ends unasked.

        Ends also when the supervisor does: `close` then.
        """
        worker, self._next = self._next or self._open(), None
        if isinstance(worker, dict):
            return worker
        while worker.popen.poll() is None and not self._stopping.wait(POLL_SECONDS):
            worker.listen()
            self._reap_retired()
            if REPLACE in worker.said:
                worker = self._replace(worker)
        if worker.popen.poll() is None:
            self._retired.append(worker)
            return {}
        self._note_death(worker)
        return {"pid": worker.popen.pid, "status": worker.popen.returncode}

    def close(self) -> None:
        """Stop every worker that still runs, by SIGKILL after `patience` seconds."""
        every = [*self._retired, *([] if self._next is None else [self._next])]
        until = time.monotonic() + self._patience
        for each in every:
            each.popen.terminate()
        for each in every:
            stop_process(each.popen, max(until - time.monotonic(), 0.0))
            each.close()

    def _open(self) -> _Process | Ended:
        try:
            ours, theirs = os.pipe()
        except OSError as error:  # too many open files: that passes
            return {"reason": f"it could not be started: {describe_os_error(error)}"}
        os.set_blocking(ours, False)
        try:
            popen = start_process(lambda: self._start(theirs))
        finally:
            os.close(theirs)
        if isinstance(popen, dict):
            os.close(ours)
            return popen
        return _Process(popen, ours)

    def _replace(self, worker: _Process) -> _Process:
        """Go one step on with replacing a worker; return the one that counts now."""
        if self._next is None:
            # One retired worker at most: a slot has memory for a worker and its replacement, not for a pile.
            if not self._retired and time.monotonic() >= self._next_at:
                self._begin_next()
            return worker
        following = self._next
        following.listen()
        if READY in following.said:
            self._next = None
            self._retire(worker, following)
            return following
        if following.popen.poll() is not None:
            self._next = None
            self._note_death(following)
            self._postpone({"pid": following.popen.pid, "status": following.popen.returncode})
        return worker

    def _begin_next(self) -> None:
        following = self._open()
        if isinstance(following, dict):
            self._postpone(following)
        else:
            self._next = following

    def _postpone(self, ended: Ended) -> None:
        self._next_at = time.monotonic() + _AGAIN_SECONDS
        _log.warning("a worker could not be replaced", **ended, again_in=_AGAIN_SECONDS)

    def _retire(self, worker: _Process, following: _Process) -> None:
        with suppress(ProcessLookupError):  # it has ended just now
            worker.popen.send_signal(RETIRE)
        self._retired.append(worker)
        seconds = round(time.monotonic() - following.began, 2)
        _log.info("worker replaced", pid=worker.popen.pid, by=following.popen.pid, warm_after=seconds)

    def _reap_retired(self) -> None:
        for worker in [each for each in self._retired if each.popen.poll() is not None]:
            self._retired.remove(worker)
            if worker.popen.returncode:
                self._note_death(worker)
            else:
                worker.close()

    def _note_death(self, worker: _Process) -> None:
        worker.close()
        self._died(worker.popen.pid, worker.popen.returncode)
