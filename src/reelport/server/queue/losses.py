"""Attempts that ended with their process: whose fault that was, and what becomes of their reports.

A report is blamed only for a death that its worker's supervisor saw, of a worker that made nothing else beside it. All
other losses are counted apart and end no report: the service was killed, the machine went away, a lease ran out.
Reports that may have been at fault become suspects, which an isolated worker makes one at a time.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache

from sqlalchemy import Connection, Engine, RowMapping, TextClause, text

from reelport.server.queue import jobs
from reelport.server.queue.jobs import Claim
from reelport.server.state import tallies
from reelport.server.state.database import load_statements, reading, writing
from reelport.server.state.tallies import Outcome

MOST_LOSSES = 3
"""After so many losses that nobody saw a report is a suspect: it might be what ends its workers."""

_OTHER_LEASES = 3600.0
"""How many seconds longer than ours the lease of another worker may be."""

_LOST = "The process that made it ended, which is not its fault: it is made again."
_SUSPECT = "Its worker {how} while {count} reports were made in it: each of them is made again, alone."
_DIED = "Its worker {how} while it made nothing else (death {deaths} of {limit}): it is made again, alone."
_ENDED = (
    "Its worker {how} while it made nothing else (death {deaths} of {limit}). "
    "Ask for less (fewer days or dimensions), or give workers more memory (REELPORT_WORKER_MEMORY)."
)


@cache
def _load_statements() -> dict[str, TextClause]:
    return {name: text(statement) for name, statement in load_statements("queue/losses").items()}


def requeue_overdue(db: Engine, lease_seconds: float) -> tuple[str, ...]:
    """Queue the jobs again whose lease ran out; the ids of their reports. Nobody is blamed.

    Leases are of `lease_seconds`, give or take what other workers' settings may be.
    """
    overdue = _load_statements()["overdue"]
    longest = {"longest": jobs.to_milliseconds(lease_seconds + _OTHER_LEASES)}
    with reading(db) as connection:
        if connection.execute(overdue, longest).first() is None:
            return ()
    with writing(db) as connection:
        return tuple(_requeue_lost(connection, row) for row in connection.execute(overdue, longest).mappings().all())


def requeue_jobs(db: Engine, owner: str) -> tuple[str, ...]:
    """Queue the jobs of a dead worker again; the ids of their reports. Nobody is blamed: nobody saw how it died."""
    with writing(db) as connection:
        return tuple(_requeue_lost(connection, row) for row in _find_jobs_of(connection, owner))


def record_death(db: Engine, owner: str, how: str, *, limit: int, now: datetime) -> tuple[str, ...]:
    """Settle the jobs of a worker that was seen to die by itself; the ids of their reports.

    A report that it made alone is blamed, and fails after `limit` such deaths. Of several none is: all are suspects.
    `how` completes the sentence "Its worker ...".
    """
    with writing(db) as connection:
        held = _find_jobs_of(connection, owner)
        if len(held) == 1 and held[0]["alone"]:
            return (_blame(connection, held[0], how, limit, now),)
        reason = _SUSPECT.format(how=how, count=max(len(held), 2))
        return tuple(_requeue_lost(connection, row, reason, suspect=True) for row in held)


def isolate(db: Engine, claim: Claim, reason: str) -> bool:
    """Let go of a job that ran out of memory beside others: whose fault it was isn't known, so it is made alone next.

    False, and nothing changed, when it ran alone: then it failed by itself.
    """
    with writing(db) as connection:
        if connection.execute(_load_statements()["beside"], claim.fence).first() is None:
            return False
        return jobs.requeue(connection, claim.fence, suspect=True, pause_seconds=0) and jobs.update_report(
            connection, claim.report_id, reason=reason
        )


def _find_jobs_of(connection: Connection, owner: str) -> list[RowMapping]:
    return list(connection.execute(_load_statements()["held_by"], {"owner": owner}).mappings().all())


def _blame(connection: Connection, row: RowMapping, how: str, limit: int, now: datetime) -> str:
    deaths = row["deaths"] + 1
    known = {"how": how, "deaths": deaths, "limit": limit}
    if deaths >= limit:
        if jobs.delete_job(connection, _make_fence(row)):
            jobs.fail_report(connection, row["report_id"], _ENDED.format(**known), now, deaths=deaths)
            tallies.count_end(connection, Outcome.FAILED, "worker_died")
    elif jobs.requeue(connection, _make_fence(row), suspect=True, pause_seconds=_compute_pause(deaths)):
        jobs.update_report(connection, row["report_id"], reason=_DIED.format(**known), deaths=deaths)
    return str(row["report_id"])


def _requeue_lost(connection: Connection, row: RowMapping, reason: str = _LOST, *, suspect: bool = False) -> str:
    losses = row["losses"] + 1
    suspect = suspect or bool(row["suspect"]) or losses >= MOST_LOSSES
    if jobs.requeue(connection, _make_fence(row), suspect=suspect, pause_seconds=_compute_pause(losses - MOST_LOSSES)):
        jobs.update_report(connection, row["report_id"], reason=reason, losses=losses)
    return str(row["report_id"])


def _make_fence(row: RowMapping) -> dict[str, str | int]:
    return {name: row[name] for name in ("report_id", "owner", "attempt")}


def _compute_pause(times: int) -> float:
    """Seconds until the next attempt: none before the first time, then growing fourfold."""
    return float(4 ** min(times - 1, 9)) if times > 0 else 0.0
