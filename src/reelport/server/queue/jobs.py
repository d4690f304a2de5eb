"""The queue: workers claim jobs on a lease, renew it, and end or requeue the job.

A lease goes by the database's clock. Every write of an attempt is fenced: it takes effect only while that owner
holds the job in that attempt (the fencing token), so a stalled worker can do no harm. `deaths` handles attempts
that end with their process.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, select

from reelport.errors import DiskFull, InternalError
from reelport.query import ReportQuery
from reelport.report_details import FailureReason
from reelport.server.events import Event, Kind, publish
from reelport.server.files.report_files import FileRecord
from reelport.server.queue.report_state import ReasonCode, choose_partner_reason, find_failure_reason
from reelport.server.state import tables, tallies
from reelport.server.state.database import reading, sync_commits, writing
from reelport.server.state.statements import Statements
from reelport.server.state.tables import FORMS, JOBS, REPORTS
from reelport.server.state.tallies import Outcome
from reelport.wire import NO_DAY, ReportStatus, format_complete_day

if TYPE_CHECKING:
    from reelport.engine.duckdb.engine import Progress

_SQL = Statements("queue/jobs")
LONGEST_PAUSE = 60.0
"""The longest backoff, in seconds, between two attempts at a report."""


class Canceller(StrEnum):
    """Who cancelled a report; the values are labels of a metric."""

    OPERATOR = "operator"
    USER = "user"


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """One attempt at one report.

    `versions` are the pinned versions of its tables, None before the first pin. `failures` counts earlier attempts that
    ended with an error of the report; a `suspect` runs alone in its worker. `waited_for_room` is how many seconds the
    report has waited in all for a full disk. `waited` is how many passed since the ask; `traceparent` the span of it.
    """

    report_id: str
    owner: str
    attempt: int
    query: ReportQuery
    channels: frozenset[str]
    versions: Mapping[str, int] | None
    failures: int = 0
    suspect: bool = False
    waited_for_room: float = 0.0
    waited: float = 0.0
    traceparent: str | None = None
    began: float = field(default_factory=time.monotonic)

    @property
    def fence(self) -> dict[str, str | int]:
        """The parameters that fence a write: it takes effect only while this attempt holds the job."""
        return {"report_id": self.report_id, "owner": self.owner, "attempt": self.attempt}


def enqueue(connection: Connection, report_id: str, organization_id: int) -> None:
    """Queue a report, in the transaction that inserts it."""
    _SQL.run(connection, "put", {"report_id": report_id, "organization_id": organization_id})
    publish(connection, Event(Kind.REPORT_QUEUED, report_id))


def claim(
    db: Engine,
    owner: str,
    *,
    running: int,
    lease_seconds: float,
    suspect: bool = False,
    beside: bool = False,
    express: bool = False,
) -> Claim | None:
    """Claim the next job of the partner that was served least recently.

    Partners with `running` jobs running are passed over. With `suspect` only suspects are claimed, without it only
    other jobs; with `express` no job that was postponed as too long for it. `beside` says that the worker makes another
    report at this moment.
    """
    due = {"longest": to_milliseconds(LONGEST_PAUSE), "suspect": int(suspect), "may_be_long": int(not express)}
    with reading(db) as connection:
        if _SQL.run(connection, "waiting", due).first() is None:
            return None
    with writing(db, synced=False) as connection:
        if (chosen := _choose_job(connection, running, due)) is None:
            return None
        number, of_partner = chosen
        if beside:
            _SQL.run(connection, "crowd", {"owner": owner})
        taken = {"number": number, "owner": owner, "alone": int(not beside), "lease": to_milliseconds(lease_seconds)}
        report_id, attempt, waited = _SQL.run(connection, "take", taken).one()
        _SQL.run(connection, "serve", of_partner)
        begun = _SQL.run(connection, "begin", {"report_id": report_id, "attempt": attempt}).one()
        if attempt == 1:
            tallies.count_started(connection, begun.waited / 1000)
    if begun.versions is not None:
        sync_commits(db)  # no pin will be recorded, and with it the claim
    return Claim(
        report_id,
        owner,
        attempt,
        ReportQuery.from_wire(json.loads(begun.query)),
        frozenset(json.loads(begun.channels)),
        None if begun.versions is None else json.loads(begun.versions),
        begun.failures,
        suspect,
        waited / 1000,
        begun.waited / 1000,
        begun.traceparent,
    )


def _choose_job(connection: Connection, running: int, due: Mapping[str, int]) -> tuple[int, dict[str, int]] | None:
    partner = _SQL.run(connection, "partner", {"running": running, **due}).scalar()
    if partner is None:
        return None
    of_partner = {"organization_id": partner}
    # Count again in a statement of its own: another claim may have committed between the query and its lock.
    if _SQL.run(connection, "running", of_partner).scalar_one() >= running:
        return None
    number = _SQL.run(connection, "oldest", {**of_partner, **due}).scalar()
    return None if number is None else (number, of_partner)


def has_due_suspect(db: Engine) -> bool:
    """Whether a suspect waits for an isolated worker and is due."""
    due = {"longest": to_milliseconds(LONGEST_PAUSE), "suspect": 1, "may_be_long": 1}
    with reading(db) as connection:
        return _SQL.run(connection, "waiting", due).first() is not None


def renew_lease(
    db: Engine,
    claim: Claim,
    lease_seconds: float,
    progress: Progress | None = None,
    alone_seconds: float | None = None,
    rest_seconds: float | None = None,
) -> bool:
    """Renew the lease of an attempt (its heartbeat); False when the lease was lost.

    It tells what was written so far, and in about how many seconds the report is ready: if its worker made it alone,
    and in truth.
    """
    told = {"rows": progress and progress.rows, "bytes": progress and progress.bytes}
    told["alone"] = None if alone_seconds is None else to_milliseconds(alone_seconds)
    told["rest"] = None if rest_seconds is None else to_milliseconds(rest_seconds)
    with writing(db, synced=False) as connection:  # a lease that the machine's end undid has run out all the same
        renewed = {**claim.fence, "lease": to_milliseconds(lease_seconds), **told}
        return _SQL.run(connection, "beat", renewed).rowcount == 1


def find_held(db: Engine, claims: Iterable[Claim]) -> frozenset[Claim]:
    """Find the claims that still hold their jobs."""
    with reading(db) as connection:
        return frozenset(claim for claim in claims if _SQL.run(connection, "held", claim.fence).first() is not None)


def find_unfinished(db: Engine, reports: Collection[str]) -> frozenset[str]:
    """Find the reports (ids) that still have a job: the others have reached a final state.

    And the forms (`forms.name_form`) that are still to be made.
    """
    with reading(db) as connection:
        found = set(connection.execute(select(JOBS.c.report_id).where(JOBS.c.report_id.in_(reports))).scalars())
        if forms := {name.partition(".")[0] for name in reports if "." in name}:
            unmade = FORMS.c.report_id.in_(forms), FORMS.c.file.is_(None), FORMS.c.failure.is_(None)
            found |= set(connection.execute(select(FORMS.c.report_id + FORMS.c.suffix).where(*unmade)).scalars())
    return frozenset(found)


def pin_versions(db: Engine, claim: Claim, versions: Mapping[str, int], last_complete_day: date | None = None) -> bool:
    """Record the versions of the tables that this and every later attempt reads, on the disk.

    False when the lease was lost. `last_complete_day` is that of the facts in these versions; None when no day is
    complete in all of them.
    """
    pinned = {
        **claim.fence,
        "versions": json.dumps(dict(versions), sort_keys=True),
        "last_complete_day": format_complete_day(last_complete_day or NO_DAY),
    }
    with writing(db) as connection:
        return _SQL.run(connection, "pin", pinned).rowcount == 1


def finish(db: Engine, claim: Claim, file: FileRecord, now: datetime) -> bool:
    """Publish the file and end the job; False, and nothing changed, when the lease was lost.

    Again it changes nothing, and is True: the answer to the first commit may have been lost. Others may see the end a
    moment before it is on the disk: who tells of it sees to that.
    """
    with writing(db) as connection:
        if not delete_job(connection, claim.fence):
            own = {"report_id": claim.report_id, "file": file.name, "sha256": file.sha256}
            return _SQL.run(connection, "published", own).first() is not None
        made = {"file": file.name, "rows": file.rows, "bytes": file.bytes, "sha256": file.sha256}
        ended = {"report_id": claim.report_id, "ended_at": tables.to_milliseconds(now)}
        _SQL.run(connection, "publish", {**ended, **made})
        publish(connection, Event(Kind.REPORT_ENDED, claim.report_id))
        tallies.count_finished(connection, time.monotonic() - claim.began)
        return True


def fail(
    db: Engine,
    claim: Claim,
    reason: str,
    now: datetime,
    *,
    code: str = InternalError.code,
    partner_reason: str | None = None,
) -> bool:
    """End the report as FAILED, as `fail_report` does; False if the lease was lost."""
    with writing(db) as connection:
        failed = delete_job(connection, claim.fence) and fail_report(
            connection,
            claim.report_id,
            reason,
            now,
            code=code,
            partner_reason=partner_reason,
            failures=claim.failures + 1,
        )
        if failed:
            tallies.count_end(connection, Outcome.FAILED, code)
        return failed


def retry(db: Engine, claim: Claim, reason: str, pause_seconds: float, *, code: str = InternalError.code) -> bool:
    """Requeue the job, due after the pause, after an attempt that its report made fail."""
    told = {"reason": reason, "reason_code": code, "failures": claim.failures + 1}
    with writing(db) as connection:
        return requeue(connection, claim.fence, suspect=claim.suspect, pause_seconds=pause_seconds, told=told)


def wait_for_room(db: Engine, claim: Claim, reason: str, pause_seconds: float, *, code: str = DiskFull.code) -> bool:
    """Requeue the job while the disk is full, and add the pause to `waited_for_room`."""
    told = {"reason": reason, "reason_code": code}
    with writing(db) as connection:
        return requeue(
            connection,
            claim.fence,
            suspect=claim.suspect,
            pause_seconds=pause_seconds,
            waited_seconds=pause_seconds,
            told=told,
        )


def give_back(db: Engine, claim: Claim) -> bool:
    """Requeue the job, due at once, without counting a failure: its worker is being stopped."""
    with writing(db) as connection:
        return requeue(connection, claim.fence, suspect=claim.suspect)


def postpone(db: Engine, claim: Claim) -> bool:
    """Requeue the job, due at once, as one too long for an express slot; no failure is counted."""
    with writing(db) as connection:
        return requeue(connection, claim.fence, suspect=claim.suspect, is_long=True)


def cancel(db: Engine, report_id: str, reason: str, now: datetime) -> bool:
    """Cancel a report for an operator, in a transaction of its own; as `cancel_job`."""
    with writing(db) as connection:
        return cancel_job(connection, report_id, reason, now, by=Canceller.OPERATOR)


def cancel_job(connection: Connection, report_id: str, reason: str, now: datetime, *, by: Canceller) -> bool:
    """Cancel a report that waits or runs; False when it had ended. Its worker then stops."""
    ended = connection.execute(JOBS.delete().where(JOBS.c.report_id == report_id)).rowcount == 1
    cancelled = ended and fail_report(connection, report_id, reason, now, code=ReasonCode.CANCELLED)
    if cancelled:
        tallies.count_end(connection, Outcome.CANCELLED, by.value)
    return cancelled


def claim_chore(db: Engine, chore: str, every_seconds: float) -> bool:
    """Claim a recurring chore; True when it is due, for one process only of all that try."""
    wanted = {"name": chore, "every": to_milliseconds(every_seconds)}
    with reading(db) as connection:
        known = _SQL.run(connection, "chore", wanted).first()
        if known is not None and not known.due:
            return False
    with writing(db) as connection:
        return _SQL.run(connection, "do", wanted).rowcount == 1


def delete_job(connection: Connection, fence: Mapping[str, str | int]) -> bool:
    """Delete the job of an attempt; False when the lease was lost."""
    return _SQL.run(connection, "end", fence).rowcount == 1


def requeue(
    connection: Connection,
    fence: Mapping[str, str | int],
    *,
    suspect: bool,
    pause_seconds: float = 0.0,
    waited_seconds: float = 0.0,
    is_long: bool = False,
    told: Mapping[str, object] | None = None,
) -> bool:
    """Requeue an attempt's job, due after at most LONGEST_PAUSE; False when it lost its lease.

    One that `is_long` stays so. `told` are columns of the report to set with it, such as why it was requeued.
    """
    freed = {
        **fence,
        "suspect": int(suspect),
        "pause": to_milliseconds(min(pause_seconds, LONGEST_PAUSE)),
        "waited": to_milliseconds(waited_seconds),
        "is_long": int(is_long),
    }
    requeued = _SQL.run(connection, "again", freed).rowcount == 1
    if requeued and not freed["pause"]:
        publish(connection, Event(Kind.REPORT_QUEUED, str(fence["report_id"])))
    return requeued and (told is None or update_report(connection, str(fence["report_id"]), **told))


def fail_report(
    connection: Connection,
    report_id: str,
    reason: str,
    now: datetime,
    *,
    code: str,
    partner_reason: str | None = None,
    **counts: int,
) -> bool:
    """Set a report's status to FAILED, with its reason, the code of that and the given counts.

    `partner_reason` is what its partner reads, None for what the code allows. A report that is too large keeps what was
    stored of its size.
    """
    ended = {"status": ReportStatus.FAILED.value, "reason": reason, "reason_code": code, "ended_at": now}
    told = partner_reason or choose_partner_reason(code, reason)
    if told or find_failure_reason(code) is not FailureReason.TOO_LARGE:
        ended["partner_reason"] = told
    publish(connection, Event(Kind.REPORT_ENDED, report_id))
    return update_report(connection, report_id, **ended, **counts)


def update_report(connection: Connection, report_id: str, **values: object) -> bool:
    """Set columns of a report; False when there is no report of that id.

    A text loses the letters that a database refuses: a reason may quote whatever a store answered.
    """
    kept = {
        name: each.encode(errors="replace").replace(b"\0", b"").decode() if isinstance(each, str) else each
        for name, each in values.items()
    }
    return connection.execute(REPORTS.update().where(REPORTS.c.id == report_id).values(kept)).rowcount == 1


def to_milliseconds(seconds: float) -> int:
    """Convert seconds to milliseconds, the unit of times in the state."""
    return round(seconds * 1000)
