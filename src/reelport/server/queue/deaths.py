"""What becomes of reports whose worker died: made again, made alone, or blamed and failed.

A report is blamed only for a death that the supervisor saw, of a worker that made nothing else at the time. All other
losses (the service was killed, the machine went away, a lease ran out) are counted apart and fail no report. Reports
that may have killed a worker become suspects, which an isolated worker makes one at a time.

A death counts only when the supervisor outlives the worker by a second: stopping a whole service ends its processes one
after the other, and the first of them didn't die by itself. A supervisor that ends within that second records nothing.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy import Connection, Engine, RowMapping

from reelport.errors import OutOfMemory
from reelport.server.queue import jobs, liveness
from reelport.server.queue.jobs import Claim
from reelport.server.queue.report_state import ReasonCode
from reelport.server.settings import Settings
from reelport.server.state import tallies
from reelport.server.state.database import reading, writing
from reelport.server.state.statements import Statements
from reelport.server.state.tallies import Outcome

OUTLIVED_SECONDS = 1.0
"""Seconds that a supervisor must outlive its worker for the death to count."""
_STOPS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT}
"""Signals by which somebody stops a process on purpose."""
_log = structlog.get_logger()
_SQL = Statements("queue/deaths")
ATTEMPTS = 3
"""Failed attempts, or deaths of a worker that made nothing else, that end a report."""
MOST_LOSSES = 3
"""After so many losses a report becomes a suspect: it might be what kills its workers."""
_OTHER_LEASES = 3600.0
"""Seconds by which the lease of a worker with other settings may be longer than ours."""
_LOST = "The process that made it ended, which is not its fault: it is made again."
_SILENT = (
    "The process that made it gave no sign of life for as long as its lease, which is not its fault: it is made again."
)
_SUSPECT = "Its worker {how} while {count} reports were made in it: each of them is made again, alone."
_DIED = "Its worker {how} while it made nothing else (death {deaths} of {limit}): it is made again, alone."
_ENDED = (
    "Its worker {how} while it made nothing else (death {deaths} of {limit}). "
    "Ask for less (fewer days or dimensions), or give workers more memory (REELPORT_WORKER_MEMORY)."
)


@dataclass(frozen=True, slots=True)
class Death:
    """A worker's unasked end: its status, negative for a signal."""

    pid: int
    status: int

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


def record_watched_death(settings: Settings, db: Engine, supervisor: str, death: Death, now: datetime) -> bool:
    """Record a watched worker's death; False if another process was cleaning up just then."""
    reports: list[str] = []
    with liveness.lock_dead(settings, supervisor, death.pid) as owners:
        for owner in owners:
            if death.is_its_own:
                reports += record_death(db, owner, death.how, limit=ATTEMPTS, now=now)
            else:
                reports += requeue_jobs(db, owner)
    if liveness.is_unsettled(settings, supervisor, death.pid):
        return False
    if reports:
        _log.warning("reports of a dead worker queued again", reports=reports, reason=f"It {death.how}.")
    return True


def requeue_overdue(db: Engine, lease_seconds: float) -> tuple[str, ...]:
    """Requeue the jobs whose lease ran out; returns the ids of their reports.

    No report is blamed. A lease that ends later than `lease_seconds` and an hour from now counts as run out: the clock
    was set back.
    """
    longest = {"longest": jobs.to_milliseconds(lease_seconds + _OTHER_LEASES)}
    with reading(db) as connection:
        if _SQL.run(connection, "overdue", longest).first() is None:
            return ()
    with writing(db) as connection:
        rows = _SQL.run(connection, "overdue", longest).mappings().all()
        return tuple(_requeue_lost(connection, row, _SILENT, ReasonCode.WORKER_SILENT) for row in rows)


def requeue_jobs(db: Engine, owner: str) -> tuple[str, ...]:
    """Requeue the jobs of a dead worker; returns the ids of their reports. No report is blamed."""
    with writing(db) as connection:
        return tuple(_requeue_lost(connection, row) for row in _find_jobs_of(connection, owner))


def record_death(db: Engine, owner: str, how: str, *, limit: int, now: datetime) -> tuple[str, ...]:
    """Requeue or fail the jobs of a worker that its supervisor saw die by itself.

    Returns the ids of their reports. A report that the worker made alone is blamed, and fails after `limit` such
    deaths. Of several reports none is blamed, and all become suspects. `how` completes the sentence "Its worker
    ...".
    """
    with writing(db) as connection:
        held = _find_jobs_of(connection, owner)
        if len(held) == 1 and held[0]["alone"]:
            return (_blame(connection, held[0], how, limit, now),)
        reason = _SUSPECT.format(how=how, count=max(len(held), 2))
        return tuple(_requeue_lost(connection, row, reason, suspect=True) for row in held)


def isolate(db: Engine, claim: Claim, reason: str) -> bool:
    """Requeue, as a suspect, a job that ran out of memory beside others.

    Any of them may have used the memory. False, and nothing changed, when the job ran alone (it is itself too
    large) or the lease was lost.
    """
    told = {"reason": reason, "reason_code": OutOfMemory.code}
    with writing(db) as connection:
        if _SQL.run(connection, "beside", claim.fence).first() is None:
            return False
        return jobs.requeue(connection, claim.fence, suspect=True, told=told)


def _find_jobs_of(connection: Connection, owner: str) -> list[RowMapping]:
    return list(_SQL.run(connection, "held_by", {"owner": owner}).mappings().all())


def _blame(connection: Connection, row: RowMapping, how: str, limit: int, now: datetime) -> str:
    deaths = row["deaths"] + 1
    known = {"how": how, "deaths": deaths, "limit": limit}
    if deaths >= limit:
        if jobs.delete_job(connection, _make_fence(row)):
            code = ReasonCode.WORKER_DIED
            jobs.fail_report(connection, row["report_id"], _ENDED.format(**known), now, code=code, deaths=deaths)
            tallies.count_end(connection, Outcome.FAILED, code)
    else:
        told = {"reason": _DIED.format(**known), "reason_code": ReasonCode.WORKER_DIED, "deaths": deaths}
        jobs.requeue(connection, _make_fence(row), suspect=True, pause_seconds=_compute_pause(deaths), told=told)
    return str(row["report_id"])


def _requeue_lost(
    connection: Connection,
    row: RowMapping,
    reason: str = _LOST,
    code: ReasonCode = ReasonCode.WORKER_LOST,
    *,
    suspect: bool = False,
) -> str:
    losses = row["losses"] + 1
    suspect = suspect or bool(row["suspect"]) or losses >= MOST_LOSSES
    told = {"reason": reason, "reason_code": code, "losses": losses}
    pause = _compute_pause(losses - MOST_LOSSES)
    jobs.requeue(connection, _make_fence(row), suspect=suspect, pause_seconds=pause, told=told)
    return str(row["report_id"])


def _make_fence(row: RowMapping) -> dict[str, str | int]:
    return {name: row[name] for name in ("report_id", "owner", "attempt")}


def _compute_pause(times: int) -> float:
    """Compute the backoff in seconds: 0 for `times` below 1, then 1, 4, 16 and so on."""
    return float(4 ** min(times - 1, 9)) if times > 0 else 0.0
