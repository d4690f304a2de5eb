"""The supervisor: starts worker processes, restarts those that end, and stops them gracefully.

While suspects wait, it also runs an isolated worker, which makes one suspect at a time and nothing else.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import NoReturn

import structlog
from sqlalchemy import Engine

from reelport.errors import StorageError
from reelport.facts.layout import require_layout
from reelport.server.queue import jobs, liveness
from reelport.server.queue.deaths import Deaths
from reelport.server.settings import Settings
from reelport.server.state import database
from reelport.storage.durable import describe_os_error

_LEAST_PAUSE = 0.1
_LONGEST_PAUSE = 10.0
_GROWTH = 1.5
_STABLE_SECONDS = 30.0
"""A worker that lived so long is restarted without backoff."""

_POLL_SECONDS = 0.05
_SUSPECTS_SECONDS = 1.0
"""Seconds between two checks for suspects."""

_RECORD_SECONDS = 0.2
_log = structlog.get_logger()


def supervise(settings: Settings) -> None:
    """Keep one worker running until SIGTERM or SIGINT.

    StorageError when the data or the state can't be used.
    """
    # Only `serve` and loads create the directory: workers whose disk was unmounted must not make a new one.
    require_layout(settings.data)
    database.connect(settings).dispose()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _shut_down)
    with run_workers(settings, 1):
        while True:
            signal.pause()


def _shut_down(*_: object) -> NoReturn:
    raise SystemExit(0)


@contextmanager
def run_workers(settings: Settings, workers: int) -> Iterator[None]:
    """Keep `workers` worker processes running within the block, and an isolated one while suspects wait."""
    if workers == 0:
        yield
        return
    db = database.open_database(settings)
    try:
        with liveness.hold_supervisor_name(settings) as name, _run_threads(_Supervisor(settings, db, name), workers):
            yield
    finally:
        db.dispose()


@contextmanager
def _run_threads(supervisor: _Supervisor, workers: int) -> Iterator[None]:
    threads = [
        threading.Thread(target=work, name=f"supervisor-{number}", daemon=True)
        for number, work in enumerate(
            [supervisor.record_deaths, supervisor.keep_isolated_worker, *[supervisor.keep_worker] * workers]
        )
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        supervisor.ending.set()
        for thread in threads:
            thread.join()


class _Supervisor:
    """What the threads of one supervisor share; each public method is the work of one thread."""

    def __init__(self, settings: Settings, db: Engine, name: str) -> None:
        self.ending = threading.Event()
        self._settings = settings
        self._db = db
        self._name = name
        self._deaths = Deaths(settings, db, name, lambda: datetime.now(UTC))

    def keep_worker(self) -> None:
        """Keep one worker running until the supervisor ends."""
        self._restart_while_needed(lambda: True, ())

    def keep_isolated_worker(self) -> None:
        """Run an isolated worker whenever a suspect is due."""
        self._restart_while_needed(self._has_due_suspect, ("--isolated",))

    def record_deaths(self) -> None:
        """Record deaths of workers in the state."""
        while not self.ending.wait(_RECORD_SECONDS):
            self._deaths.record_due()

    def _restart_while_needed(self, needed: Callable[[], bool], arguments: tuple[str, ...]) -> None:
        pause = _LEAST_PAUSE / _GROWTH
        while not self.ending.is_set():
            if not needed():
                self.ending.wait(_SUSPECTS_SECONDS)
                continue
            started = time.monotonic()
            ended = self._run_worker(arguments)
            if self.ending.is_set():
                return
            is_stable = time.monotonic() - started > _STABLE_SECONDS or ended == _DONE
            pause = _LEAST_PAUSE if is_stable else min(pause * _GROWTH, _LONGEST_PAUSE)
            if ended != _DONE:
                _log.warning("worker ended", **ended, restart_in=round(pause, 2))
            self.ending.wait(pause)

    def _has_due_suspect(self) -> bool:
        try:
            return jobs.has_due_suspect(self._db)
        except StorageError:
            return False  # Workers log the same failure when they claim.
        except Exception:  # noqa: BLE001 - whatever it was, the next check must come
            _log.exception("the check for suspects failed")
            return False

    def _run_worker(self, arguments: tuple[str, ...]) -> dict[str, int | str]:
        """Run one worker until it ends or the supervisor stops; returns how it ended, for the log."""
        try:
            process = self._start_worker(arguments)
        except OSError as error:  # too many processes or open files, too little memory: try again later
            return {"reason": f"it could not be started: {describe_os_error(error)}"}
        while process.poll() is None and not self.ending.wait(_POLL_SECONDS):
            pass
        if self.ending.is_set():
            _stop_process(process, self._settings)
        else:
            self._deaths.add(process.pid, process.returncode)
        _close_stdin(process)
        if arguments and process.returncode == 0:
            return _DONE
        return {"pid": process.pid, "status": process.returncode}

    def _start_worker(self, arguments: tuple[str, ...]) -> subprocess.Popen[bytes]:
        """Start a worker whose standard input closes when this process ends, even by SIGKILL."""
        return subprocess.Popen(
            [sys.executable, "-m", "reelport.server.queue.worker_process", self._name, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env={**os.environ, **self._settings.environment()},
        )


_DONE: dict[str, int | str] = {}
"""Result of `_run_worker` for an isolated worker that made every suspect."""


def _stop_process(process: subprocess.Popen[bytes], settings: Settings) -> None:
    process.terminate()
    try:
        process.wait(settings.drain_seconds + 5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _close_stdin(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
