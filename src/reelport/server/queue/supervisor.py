"""The supervisor: starts workers, restarts those that end, and stops them gracefully.

While suspects wait, it also runs an isolated worker, which makes one suspect at a time and nothing else.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.util import find_spec

import structlog
from sqlalchemy import Engine

from reelport.errors import StorageError, UsageError
from reelport.facts.layout import require_layout
from reelport.server.child_process import Ended, keep_running, run_process, run_threads
from reelport.server.process import exit_process, wait_for_end
from reelport.server.queue import jobs, liveness, worker_memory
from reelport.server.queue.deaths import Deaths
from reelport.server.queue.worker_directory import begin_directory
from reelport.server.settings import Settings
from reelport.server.state import database
from reelport.server.state.own_tables import require_own_tables
from reelport.wording import advise_extra

_RECORD_SECONDS = 0.2
_log = structlog.get_logger()


def supervise(settings: Settings) -> None:
    """Keep one worker running until SIGTERM or SIGINT.

    StorageError when the data or the state can't be used.
    """
    begin_directory(settings)
    # Workers whose disk was unmounted must not make a new directory.
    require_layout(settings.data)
    with database.connected(settings) as db:
        require_own_tables(db, settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, exit_process)
    with run_workers(worker_memory.fit_workers(settings, 1), 1):
        wait_for_end()


@contextmanager
def run_workers(settings: Settings, workers: int) -> Iterator[None]:
    """Keep `workers` processes running within the block, and an isolated one for suspects.

    UsageError where a library that they need isn't installed.
    """
    if workers == 0:
        yield
        return
    _require_libraries(settings)
    db = database.open_database(settings)
    try:
        with liveness.hold_supervisor_name(settings) as name:
            supervisor = _Supervisor(settings, db, name)
            works = [supervisor.record_deaths, supervisor.keep_isolated_worker]
            works += [supervisor.keep_worker] * workers
            with run_threads("supervisor", works, supervisor.ending):
                yield
    finally:
        db.dispose()


def _require_libraries(settings: Settings) -> None:
    if settings.engine and find_spec("pyspark") is None:
        raise UsageError(
            "REELPORT_ENGINE names a Spark, and its client isn't installed: "
            f"{advise_extra('server,spark', 'spark')}, or leave the setting out."
        )


class _Supervisor:
    """What the threads of one supervisor share; each public method is the work of one thread."""

    def __init__(self, settings: Settings, db: Engine, name: str) -> None:
        self.ending = threading.Event()
        self._settings = settings
        self._db = db
        self._name = name
        self._patience = settings.drain_seconds + 5
        self._deaths = Deaths(settings, db, name, lambda: datetime.now(UTC))

    def keep_worker(self) -> None:
        """Keep one worker running until the supervisor ends."""
        keep_running("worker", self._run_worker, self.ending)

    def keep_isolated_worker(self) -> None:
        """Run an isolated worker whenever a suspect is due."""
        keep_running("worker", lambda: self._run_worker("--isolated"), self.ending, self._has_due_suspect)

    def record_deaths(self) -> None:
        """Record deaths of workers in the state."""
        while not self.ending.wait(_RECORD_SECONDS):
            self._deaths.record_due()

    def _has_due_suspect(self) -> bool:
        try:
            return jobs.has_due_suspect(self._db)
        except StorageError:
            return False  # Workers log the same failure when they claim.
        except Exception:  # noqa: BLE001 - whatever it was, the next check must come
            _log.exception("the check for suspects failed")
            return False

    def _run_worker(self, *options: str) -> Ended:
        """Run a worker: until it has made enough reports, or an isolated one until it has made every suspect."""
        process = run_process(lambda: self._start_worker(*options), self.ending, self._patience)
        if isinstance(process, dict):
            return process
        self._note_death(process.pid, process.returncode)
        return {} if process.returncode == 0 else {"pid": process.pid, "status": process.returncode}

    def _note_death(self, pid: int, status: int) -> None:
        if not self.ending.is_set():
            self._deaths.add(pid, status)

    def _start_worker(self, *options: str) -> subprocess.Popen[bytes]:
        """Start a worker whose standard input closes when this process ends, even by SIGKILL."""
        return subprocess.Popen(
            [sys.executable, "-m", "reelport.server.queue.worker_main", self._name, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env={**os.environ, **self._settings.environment()},
        )
