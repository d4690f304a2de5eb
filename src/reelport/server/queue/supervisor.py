"""The supervisor: starts workers, restarts those that end, and stops them gracefully.

While suspects wait, it also runs an isolated worker, which makes one suspect at a time and nothing else; and while
forms of finished reports do, a process that makes those. On a machine that runs workers alone it begins the data
directory.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec

import structlog
from sqlalchemy import Engine

from reelport.errors import StorageError, UsageError
from reelport.facts.layout import FILE_NAME, check_layout, require_layout
from reelport.server.credentials import SECRET_FILE, has_service_secret, load_service_secret
from reelport.server.files import forms
from reelport.server.process import Ended, exit_process, keep_running, run_process, run_threads, wait_for_end
from reelport.server.queue import jobs, liveness, worker_memory
from reelport.server.queue.deaths import OUTLIVED_SECONDS, Death, record_watched_death
from reelport.server.settings import Settings
from reelport.server.state.database import connected, opened, reading
from reelport.server.state.own_tables import require_own_tables
from reelport.server.state.revisions import read_revision
from reelport.server.state.secret_fingerprint import read_fingerprint
from reelport.storage.durable import private, translate_io_errors
from reelport.storage.locked_folders import lock_folder
from reelport.wording import advise_extra

_RECORD_SECONDS = 0.2
_FORM_MAKERS = (0.0, 5.0)
"""The form makers: for how many seconds a form must have waited before each starts. A large workbook takes minutes."""
_log = structlog.get_logger()
_PREPARED = frozenset({SECRET_FILE, "lost+found"})
"""What may lie in a directory that is still new: a secret that was put there, and what a new file system has."""


def supervise(settings: Settings) -> None:
    """Keep one worker running until SIGTERM; StorageError when data or state can't be used."""
    begin_directory(settings)
    # Workers whose disk was unmounted must not make a new directory.
    require_layout(settings.data)
    with connected(settings) as db:
        require_own_tables(db, settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, exit_process)
    with run_workers(worker_memory.fit_workers(settings, 1), 1):
        wait_for_end()


@contextmanager
def run_workers(settings: Settings, workers: int) -> Iterator[None]:
    """Keep so many workers running, and one for suspects; UsageError without their library."""
    if workers == 0:
        yield
        return
    if settings.engine and find_spec("pyspark") is None:
        raise UsageError(
            "REELPORT_ENGINE names a Spark, and its client isn't installed: "
            f"{advise_extra('server,spark', 'spark')}, or leave the setting out."
        )
    with (
        opened(settings) as db,
        liveness.hold_supervisor_name(settings) as name,
        ThreadPoolExecutor(thread_name_prefix="deaths") as pool,
    ):
        supervisor = _Supervisor(settings, db, name, pool)
        works = [supervisor.keep_isolated_worker, *[supervisor.keep_worker] * workers]
        works += [partial(supervisor.keep_form_maker, f"{name}-{waited}", waited) for waited in _FORM_MAKERS]
        with run_threads("supervisor", works, supervisor.ending):
            yield


class _Supervisor:
    """What the threads of one supervisor share; each public method is the work of one thread."""

    def __init__(self, settings: Settings, db: Engine, name: str, pool: Executor) -> None:
        self.ending = threading.Event()
        self._settings = settings
        self._db = db
        self._name = name
        self._pool = pool
        self._patience = settings.drain_seconds + 5

    def keep_worker(self) -> None:
        """Keep one worker running until the supervisor ends."""
        keep_running("worker", self._run_worker, self.ending)

    def keep_isolated_worker(self) -> None:
        """Run an isolated worker whenever a suspect is due."""
        is_needed = partial(self._is_due, lambda: jobs.has_due_suspect(self._db))
        keep_running("worker", lambda: self._run_worker("--isolated"), self.ending, is_needed)

    def keep_form_maker(self, owner: str, waited: float) -> None:
        """Run a form maker of this name whenever a form is due that has waited so many seconds."""
        is_needed = partial(self._is_due, lambda: forms.has_due_form(self._db, self._settings.lease_seconds, waited))
        keep_running("form maker", lambda: self._run_form_maker(owner), self.ending, is_needed)

    def _is_due(self, check: Callable[[], bool]) -> bool:
        try:
            return check()
        except StorageError:
            return False  # Workers log the same failure when they claim.
        except Exception:  # noqa: BLE001 - whatever it was, the next check must come
            _log.exception("the check for suspects and forms failed")
            return False

    def _run_worker(self, *options: str) -> Ended:
        """Run a worker until it has done enough; see `worker_main` for the options."""
        process = run_process(lambda: self._start_worker(*options), self.ending, self._patience)
        if isinstance(process, dict):
            return process
        if not self.ending.is_set():
            self._pool.submit(self._record_death, Death(process.pid, process.returncode))
        return {} if process.returncode == 0 else {"pid": process.pid, "status": process.returncode}

    def _record_death(self, death: Death) -> None:
        """Record a worker's death once this process outlived it for so long; try again if need be."""
        pause = OUTLIVED_SECONDS
        while not self.ending.wait(pause):
            pause = _RECORD_SECONDS
            try:
                if record_watched_death(self._settings, self._db, self._name, death, datetime.now(UTC)):
                    return
            except StorageError as error:
                _log.warning("a worker's death could not be recorded yet", pid=death.pid, reason=str(error))
            except Exception:  # noqa: BLE001 - whatever it was, the death must be recorded
                _log.exception("a worker's death could not be recorded yet", pid=death.pid)

    def _run_form_maker(self, owner: str) -> Ended:
        """Run a form maker until no form was due for a while; free what it held then."""
        ended = self._run_worker("--forms", owner)
        died = not self.ending.is_set() and Death(0, int(ended.get("status", 0))).is_its_own
        try:
            forms.release_forms(self._db, owner, died=died)
        except StorageError as error:
            _log.warning("forms of a process that ended wait for the end of its lease", reason=str(error))
        return ended

    def _start_worker(self, *options: str) -> subprocess.Popen[bytes]:
        """Start a worker whose standard input closes when this process ends, even by SIGKILL."""
        return subprocess.Popen(
            [sys.executable, "-m", "reelport.server.queue.worker_main", self._name, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env={**os.environ, **self._settings.environment()},
        )


def can_begin(settings: Settings) -> bool:
    """Whether a worker may make this data directory if it is new.

    It may where all that others need lies elsewhere: the state in PostgreSQL, tables and finished reports in an object
    store. If its disk is only away, nothing is lost by that: what a worker keeps here can be made again. A directory
    in a folder that isn't there either is a name that was mistyped.
    """
    data = settings.data
    has_place = data.is_dir() or (not data.exists() and data.absolute().parent.is_dir())
    return bool(settings.database_url and settings.facts_url and settings.files_url) and has_place


def begin_directory(settings: Settings) -> None:
    """Make a new data directory for a worker, where it may; else do nothing.

    It is new if it is empty, or missing in a folder that is there. UsageError unless the state is there and was made
    under this secret, StorageError when it can't be read.
    """
    data = settings.data
    with translate_io_errors(data):
        if (data / FILE_NAME).exists() or not can_begin(settings):
            return
    if (fault := _find_state_fault(settings)) is not None:
        raise UsageError(f"{data.absolute()} is no data directory yet, and this worker makes none: {fault}")
    with translate_io_errors(data), private():
        data.mkdir(exist_ok=True)
        with lock_folder(data):  # another worker may begin at the same moment
            if {path.name for path in data.iterdir()} <= _PREPARED:
                check_layout(data)
                _log.info("data directory made", path=str(data.absolute()))


def _find_state_fault(settings: Settings) -> str | None:
    if not has_service_secret(settings):
        return "set REELPORT_SECRET to the service's secret."
    with opened(settings) as db, reading(db) as connection:
        found = None if read_revision(connection) is None else read_fingerprint(connection)
    if found is None:
        return "the database of REELPORT_DATABASE_URL belongs to no service yet. Start `reelport serve` first."
    if found != load_service_secret(settings).fingerprint:
        return "the service's state was made under another secret. Set REELPORT_SECRET to that one."
    return None
