"""A worker's background duties: leases, cancelled attempts, dead workers' jobs, estimates."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

import structlog
from sqlalchemy import Engine

from reelport.engine.duckdb.engine import Progress, Session
from reelport.errors import ReelportError, StorageError
from reelport.server.queue import deaths, jobs, liveness
from reelport.server.queue.estimates import QUEUE_SECONDS, Estimates, Pace, expect_rest
from reelport.server.queue.jobs import Claim
from reelport.server.settings import Settings
from reelport.storage.retries import BRIEF_SECONDS, retry_for

WATCH_SECONDS = 0.3
"""Seconds between two checks of running attempts against their jobs: about how long a cancelled one goes on."""
REAP_SECONDS = 1.0
"""Seconds between two searches for jobs of dead and silent workers."""

_LATE_SECONDS = 60.0
"""For how long an attempt that was stopped as late keeps its lease: while requests to a store are sent again.

One that hangs for longer is made again by somebody else.
"""
_BEATS = 3
"""Heartbeats within the length of a lease."""
_PROGRESS_SECONDS = 1.0
"""Seconds between two heartbeats, which tell how far an attempt is; the first comes with the first estimate."""
_log = structlog.get_logger()


class StopReason(StrEnum):
    """Why a running attempt is interrupted; the values are for the log."""

    TAKEN = "its job was cancelled or taken away"
    LATE = "it took too long"
    LEAVING = "the worker stops"
    LONG = "it is too long for the express slot, and waits for another one"


@dataclass(eq=False)
class RunningAttempt:
    """One attempt that is being made; its times are monotonic, in seconds.

    `told` is what its last heartbeat told of its progress, and whether it `has_estimate`. `expected` is how many
    seconds it takes alone. `spent` are those that it has taken so far, without the share of others in the worker;
    `pace` is how quickly it writes its days.
    """

    claim: Claim
    session: Session
    is_express: bool = False
    started_at: float = field(default_factory=time.monotonic)
    renewed_at: float = field(default_factory=time.monotonic)
    told: Progress | None = None
    expected: float | None = None
    has_estimate: bool = False
    spent: float = 0.0
    spent_at: float = field(default_factory=time.monotonic)
    pace: Pace = field(default_factory=Pace)
    stop: StopReason | None = None

    @property
    def seconds(self) -> float:
        """For how long it has been made."""
        return time.monotonic() - self.started_at

    def measure_progress(self) -> Progress | None:
        """Measure what is written so far; to write the report again as a check adds nothing."""
        known = [each for each in (self.session.progress, self.told) if each is not None]
        return max(known, key=lambda each: each.bytes, default=None)

    def spend(self, running: int) -> None:
        """Add the time since the last call: a part of it, where so many are made at once."""
        now = time.monotonic()
        self.spent += (now - self.spent_at) / max(running, 1)
        self.spent_at = now
        if self.session.share > self.pace.share:
            self.pace = self.pace.go_on(self.session.share, self.spent)

    def expect_rest(self) -> float | None:
        """Expect in how many seconds it would end alone; None without an estimate."""
        return None if self.expected is None else expect_rest(self.expected, self.spent, self.pace)

    def interrupt(self, why: StopReason) -> None:
        """Ask the engine to stop; call it again until the attempt has ended.

        The first reason is kept. It doesn't wait: an attempt that fetches files notices late, and who keeps the leases
        of all must not stand still meanwhile.
        """
        self.stop = self.stop or why
        self.session.request_cancel()


class LeaseKeeper:
    """Keeps the leases of one worker's attempts. An unreachable database is only logged.

    It estimates in a thread of its own: a store that is slow or away may hold that for longer than a lease.
    """

    def __init__(
        self,
        settings: Settings,
        db: Engine,
        *,
        running: Callable[[], tuple[RunningAttempt, ...]],
        ready: str = "",
        express_seconds: float = math.inf,
        estimates: Estimates | None = None,
    ) -> None:
        """`ready` names the worker whose heartbeats are sent, '' for none."""
        self._estimates = estimates or Estimates(settings)
        self._estimated_at = float("-inf")
        self._estimator: threading.Thread | None = None
        self._settings = settings
        self._db = db
        self._running = running
        self._ready = ready
        self._express_seconds = express_seconds
        self._heartbeat_at = time.monotonic()
        self._reaped_at = float("-inf")

    def tick(self) -> None:
        """Do every duty that is due; call it every WATCH_SECONDS."""
        try:
            self._watch()
            if self._ready and time.monotonic() - self._heartbeat_at >= liveness.BEAT_SECONDS:
                self._heartbeat_at = time.monotonic()
                liveness.record_heartbeat(self._db, self._ready)
            if time.monotonic() - self._reaped_at >= REAP_SECONDS:
                self._reaped_at = time.monotonic()
                self._reap()
            self._start_estimates()
        except StorageError as error:
            # Every lease may run out meanwhile: whoever reaches the state first leaves others time to renew theirs.
            self._reaped_at = time.monotonic() + self._settings.lease_seconds
            _log.warning("upkeep failed", reason=str(error))
        except Exception:  # noqa: BLE001 - whatever it was, the leases of running reports must be kept at the next tick
            _log.exception("upkeep failed")

    def close(self) -> None:
        """Wait for estimates that are being made."""
        if self._estimator is not None:
            self._estimator.join()

    def _watch(self) -> None:
        running = self._running()
        if not running:
            return
        held = jobs.find_held(self._db, [each.claim for each in running])
        for each in running:
            each.spend(len(running))
        rests = {each.claim.report_id: rest for each in running if (rest := each.expect_rest()) is not None}
        ends = self._estimates.expect_ends(rests)
        for each in running:
            if each.claim not in held:
                each.interrupt(StopReason.TAKEN)
                continue
            over = each.seconds - self._settings.generation_seconds
            if over > 0:
                each.interrupt(StopReason.LATE)
            elif each.is_express and each.seconds > self._express_seconds:
                each.interrupt(StopReason.LONG)
            rest, end = rests.get(each.claim.report_id), ends.get(each.claim.report_id)
            is_news = rest is not None and not each.has_estimate
            pause = 0.0 if is_news else min(self._settings.lease_seconds / _BEATS, _PROGRESS_SECONDS)
            # Also the lease of one that was interrupted: it may notice late, or be published.
            if over < _LATE_SECONDS and time.monotonic() - each.renewed_at > pause:
                each.told, each.has_estimate = each.measure_progress(), rest is not None
                lease_seconds = self._settings.lease_seconds
                jobs.renew_lease(self._db, each.claim, lease_seconds, each.told, rest, end)
                each.renewed_at = time.monotonic()

    def _start_estimates(self) -> None:
        running, now = self._running(), time.monotonic()
        is_estimating = self._estimator is not None and self._estimator.is_alive()
        if running and now - self._estimated_at >= QUEUE_SECONDS and not is_estimating:
            self._estimated_at = now
            new = [each for each in running if each.expected is None]
            self._estimator = threading.Thread(target=self._estimate, args=(new,), name="estimates")
            self._estimator.start()

    def _estimate(self, new: list[RunningAttempt]) -> None:
        try:
            with retry_for(BRIEF_SECONDS):  # the process's end waits for it
                for each in new:
                    claim = each.claim
                    each.expected = self._estimates.expect(claim.query, claim.channels, claim.versions)
                self._estimates.estimate_queue(self._db)
        except ReelportError as error:
            _log.info("the ends of reports are not estimated", reason=str(error))
        except Exception:  # noqa: BLE001 - whatever it was, the reports are made all the same
            _log.exception("the ends of reports are not estimated")

    def _reap(self) -> None:
        overdue = deaths.requeue_overdue(self._db, self._settings.lease_seconds)
        if overdue:
            reason = "It gave no sign of life for as long as its lease."
            _log.warning("reports of a lost worker queued again", reports=list(overdue), reason=reason)
        release_dead_workers(self._db, self._settings)


def release_dead_workers(db: Engine, settings: Settings) -> tuple[str, ...]:
    """Requeue the jobs of workers that died here unseen; returns the ids of their reports."""
    released: list[str] = []
    with liveness.lock_unwatched_dead(settings) as dead:
        for owner in dead:
            released += deaths.requeue_jobs(db, owner)
    if released:
        reason = "It ended together with its service, or nobody watched it."
        _log.warning("reports of a dead worker queued again", reports=released, reason=reason)
    return tuple(released)
