"""Records deaths of workers in the state, as their supervisor sees them.

A death counts only when the supervisor outlives the worker by a second: stopping a whole service ends its processes one
after the other, and the first of them didn't die by itself. A supervisor that ends within that second records nothing.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy import Engine

from reelport.errors import StorageError
from reelport.server.queue import liveness, losses
from reelport.server.settings import Settings

OUTLIVED_SECONDS = 1.0
"""Seconds that a supervisor must outlive its worker for the death to count."""

_STOPS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT}
"""Signals by which somebody stops a process on purpose."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Death:
    """A worker that ended unasked.

    `status` is its exit status, negative for a signal; `at` is monotonic, in seconds.
    """

    pid: int
    status: int
    at: float

    @property
    def is_its_own(self) -> bool:
        """Whether the worker failed or was killed; False when somebody stopped it on purpose."""
        return self.status > 0 or (self.status < 0 and -self.status not in _STOPS)

    @property
    def how(self) -> str:
        """How the worker ended: the rest of the sentence "Its worker ..."."""
        if self.status >= 0:
            return f"ended with exit status {self.status}"
        try:
            name = signal.Signals(-self.status).name
        except ValueError:
            name = f"signal {-self.status}"
        return f"was killed by {name}{' (perhaps for lack of memory)' if name == 'SIGKILL' else ''}"


class Deaths:
    """The deaths under one supervisor that the state doesn't have yet. Thread-safe."""

    def __init__(
        self,
        settings: Settings,
        db: Engine,
        supervisor: str,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._db = db
        self._supervisor = supervisor
        self._clock = clock
        self._monotonic = monotonic
        self._unrecorded: list[Death] = []
        self._lock = threading.Lock()

    def add(self, pid: int, status: int) -> None:
        """Note that a worker has just ended unasked."""
        with self._lock:
            self._unrecorded.append(Death(pid, status, self._monotonic()))

    def record_due(self) -> None:
        """Record in the state the deaths that are old enough.

        Those that fail to be written stay for the next call.
        """
        with self._lock:
            now = self._monotonic()
            due = [death for death in self._unrecorded if now - death.at >= OUTLIVED_SECONDS]
        for death in due:
            try:
                self._record(death)
            except StorageError as error:
                _log.warning("a worker's death could not be recorded yet", pid=death.pid, reason=str(error))
            except Exception:  # noqa: BLE001 - whatever it was, other deaths must be recorded
                _log.exception("a worker's death could not be recorded yet", pid=death.pid)

    def _record(self, death: Death) -> None:
        reports: list[str] = []
        with liveness.lock_dead(self._settings, self._supervisor, death.pid) as owners:
            for owner in owners:
                reports += self._release_jobs(owner, death)
        if liveness.is_unsettled(self._settings, self._supervisor, death.pid):
            return  # Another process held the worker's lock just then: try again at the next call.
        with self._lock:
            self._unrecorded.remove(death)
        if reports:
            _log.warning("reports of a dead worker queued again", reports=reports, reason=f"It {death.how}.")

    def _release_jobs(self, owner: str, death: Death) -> tuple[str, ...]:
        if not death.is_its_own:
            return losses.requeue_jobs(self._db, owner)
        return losses.record_death(self._db, owner, death.how, limit=losses.ATTEMPTS, now=self._clock())
