"""The other forms of a finished report's file, such as Parquet: their records and queue.

The first request for a form queues it; a process beside the workers makes it from the CSV (`queue/form_maker`). Every
write of an attempt is fenced, as those of reports are. The record goes with its report; the file is then an orphan,
which the next sweep deletes if nobody did before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from sqlalchemy import ColumnElement, Connection, Engine, select

from reelport.catalog import Metric
from reelport.engine.report_format import FORM_TYPES, FileType
from reelport.query import ReportQuery
from reelport.server.events import Event, Kind, publish
from reelport.server.files.report_files import FileRecord
from reelport.server.state.database import reading, writing
from reelport.server.state.statements import Statements
from reelport.server.state.tables import FORMS, REPORTS
from reelport.storage.file_store import FileStore
from reelport.wire import NO_DAY, format_complete_day, parse_complete_day

DIED = "process_died"
"""The failure of a form whose making ended its process again and again."""
DEATHS = 2
"""Deaths of the process that makes it after which a form has failed."""
_CLOCK_SLACK = 3_600_000
"""Milliseconds by which a lease may end later than a new one would; one beyond it is of a clock that was set back."""
_SQL = Statements("files/forms")


@dataclass(frozen=True, slots=True)
class FoundForm:
    """A form that was asked for: `file` once it is made, `failure` (a code) if it could not be."""

    file: FileRecord | None
    failure: str | None


@dataclass(frozen=True, slots=True)
class FormClaim:
    """One attempt at one form. `about` describes the report, as `describe_file` does."""

    report_id: str
    form: FileType
    owner: str
    attempt: int
    csv: FileRecord
    about: Mapping[str, str]

    @property
    def fence(self) -> dict[str, str | int]:
        """The parameters that fence a write: it has effect only while the attempt holds the form."""
        key = {"report_id": self.report_id, "suffix": self.form.suffix}
        return {**key, "owner": self.owner, "attempt": self.attempt}


def name_form(report_id: str, suffix: str) -> str:
    """Name a form in events, and for long polls."""
    return report_id + suffix


def describe_file(query: str, versions: str | None, complete: date | None) -> dict[str, str]:
    """Describe a report's file: its query, versions, units and last complete day, in ASCII.

    `query` and `versions` are the JSON of the state; all are JSON but the day, `none` where no day is complete.
    """
    asked = ReportQuery.from_wire(json.loads(query))
    units = {metric.lower(): Metric[metric].unit.value for metric in asked.metrics}
    return {
        "query": _write_json(asked.to_wire()),
        "versions": _write_json(json.loads(versions or "{}")),
        "units": _write_json(units),
        "last_complete_day": format_complete_day(complete or NO_DAY),
    }


def find_form(db: Engine, report_id: str, suffix: str, rows: int) -> FoundForm | None:
    """Find a form of a report with so many rows; None if nobody has asked for it."""
    wanted = FORMS.select().where(FORMS.c.report_id == report_id, FORMS.c.suffix == suffix)
    with reading(db) as connection:
        row = connection.execute(wanted).first()
    if row is None:
        return None
    return FoundForm(None if row.file is None else FileRecord(row.file, rows, row.bytes, row.sha256), row.failure)


def find_intact_form(db: Engine, store: FileStore, report_id: str, suffix: str, rows: int) -> FileRecord | None:
    """Find a form whose whole file is there; else have it made, and return None.

    One that is being made already is left so; one that failed, or whose file is gone or cut, is made again.
    """
    found = find_form(db, report_id, suffix, rows)
    lost = ""
    if found is not None and found.file is not None:
        stored = store.find(found.file.name)
        if stored is not None and stored.size == found.file.bytes:
            return found.file
        lost = found.file.name
    if found is None or found.failure is not None or lost:
        # Locked: else a report that is deleted or expires just now would fail this, or leave the form behind.
        locked = select(REPORTS.c.id).where(REPORTS.c.id == report_id).with_for_update(read=True)
        with writing(db) as connection:
            connection.execute(locked)
            _SQL.run(connection, "want", {"report_id": report_id, "suffix": suffix, "lost": lost})
            publish(connection, Event(Kind.FORM_QUEUED, name_form(report_id, suffix)))
    return None


def list_files(connection: Connection, *reports: ColumnElement[bool]) -> tuple[str, ...]:
    """List the files of all forms of the reports under these conditions."""
    made = select(FORMS.c.file).join(REPORTS).where(*reports, FORMS.c.file.is_not(None))
    return tuple(connection.execute(made).scalars())


def has_due_form(db: Engine, lease_seconds: float, waited_seconds: float = 0.0) -> bool:
    """Whether `claim_form` would claim one; one that has waited so long."""
    due = {"longest": _longest(lease_seconds), "waited": round(waited_seconds * 1000)}
    with reading(db) as connection:
        return _SQL.run(connection, "due", due).first() is not None


def claim_form(db: Engine, owner: str, lease_seconds: float) -> FormClaim | None:
    """Claim the next form; None when none is due. A partner has one made at a time."""
    if not has_due_form(db, lease_seconds):
        return None
    longest = {"longest": _longest(lease_seconds)}
    with writing(db) as connection:
        due = _SQL.run(connection, "next", longest).mappings().first()
        if due is None:
            return None
        taken = {**due, "owner": owner, "lease": round(lease_seconds * 1000)}
        attempt = _SQL.run(connection, "take", taken).scalar()
        report = connection.execute(REPORTS.select().where(REPORTS.c.id == due["report_id"])).first()
    if attempt is None or report is None or report.file is None:
        return None
    return FormClaim(
        report.id,
        FORM_TYPES[due["suffix"]],
        owner,
        attempt,
        FileRecord(report.file, report.rows, report.bytes, report.sha256),
        describe_file(report.query, report.versions, parse_complete_day(report.last_complete_day)),
    )


def renew_form_lease(db: Engine, claim: FormClaim, lease_seconds: float) -> None:
    """Renew the lease of an attempt, if it holds its form still."""
    with writing(db) as connection:
        _SQL.run(connection, "beat", {**claim.fence, "lease": round(lease_seconds * 1000)})


def finish_form(db: Engine, claim: FormClaim, file: FileRecord) -> bool:
    """Publish the file of an attempt; False, and nothing changed, when its lease was lost."""
    made = {"file": file.name, "bytes": file.bytes, "sha256": file.sha256}
    return _end(db, claim, "finish", made)


def fail_form(db: Engine, claim: FormClaim, code: str) -> bool:
    """Record that an attempt failed, by the code of its error; False when its lease was lost."""
    return _end(db, claim, "fail", {"failure": code})


def release_forms(db: Engine, owner: str, *, died: bool) -> None:
    """Free the forms of a process that has ended. One that ended it DEATHS times has failed."""
    freed = {"owner": owner, "died": int(died), "limit": DEATHS, "failure": DIED}
    with writing(db) as connection:
        for report_id, suffix, failure in _SQL.run(connection, "release", freed).all():
            kind = Kind.REPORT_ENDED if failure else Kind.FORM_QUEUED
            publish(connection, Event(kind, name_form(report_id, suffix)))


def _end(db: Engine, claim: FormClaim, statement: str, made: Mapping[str, object]) -> bool:
    with writing(db) as connection:
        ended = _SQL.run(connection, statement, {**claim.fence, **made}).rowcount == 1
        publish(connection, Event(Kind.REPORT_ENDED, name_form(claim.report_id, claim.form.suffix)))
    return ended


def _longest(lease_seconds: float) -> int:
    return round(lease_seconds * 1000) + _CLOCK_SLACK


def _write_json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
