"""Cancels and deletes reports for the people of an organization; each has its audit row."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, select

from reelport.errors import StorageError
from reelport.server.access import audit_log
from reelport.server.access.audit_log import Action, Actor
from reelport.server.files import forms
from reelport.server.queue import jobs
from reelport.server.settings import Settings
from reelport.server.state.database import write
from reelport.server.state.tables import JOBS, REPORTS


@dataclass(frozen=True, slots=True)
class Remover:
    """Who cancels or deletes, and of which organization."""

    organization_id: int
    actor: Actor


def cancel_report(db: Engine, remover: Remover, report_id: str, now: datetime) -> bool:
    """End a report as failed, with who did it as reason; False for an ended or foreign one."""

    def cancel(connection: Connection) -> bool:
        if _lock(connection, remover, report_id) is None:
            return False
        reason = f"It was cancelled by {remover.actor.name}."
        cancelled = jobs.cancel_job(connection, report_id, reason, now, by=jobs.Canceller.USER)
        if cancelled:
            subject = Action.REPORT_CANCELLED, report_id, now
            audit_log.record_action(connection, remover.organization_id, remover.actor, *subject)
        return cancelled

    return write(db, cancel)


def delete_report(db: Engine, settings: Settings, remover: Remover, report_id: str, now: datetime) -> bool:
    """Delete the record and the files of a report that has ended.

    Its id, token and links are then unknown, and a download that runs ends at its next check. False when it hasn't
    ended, or is another organization's.
    """

    def delete(connection: Connection) -> tuple[bool, tuple[str, ...]]:
        found = _lock(connection, remover, report_id)
        if found is None or connection.execute(select(JOBS.c.number).where(JOBS.c.report_id == report_id)).first():
            return False, ()
        files = () if found.file is None else (found.file, *forms.list_files(connection, REPORTS.c.id == report_id))
        connection.execute(REPORTS.delete().where(REPORTS.c.id == report_id))
        subject = Action.REPORT_DELETED, report_id, now
        audit_log.record_action(connection, remover.organization_id, remover.actor, *subject)
        return True, files

    deleted, files = write(db, delete)
    for file in files:
        # A file that can't be deleted now is an orphan: the next sweep deletes it.
        with suppress(StorageError):
            settings.report_store.delete(file)
    return deleted


def _lock(connection: Connection, remover: Remover, report_id: str) -> Row[*tuple[Any, ...]] | None:
    # Jobs before reports, as in every transaction that writes both: otherwise two could deadlock.
    connection.execute(select(JOBS.c.number).where(JOBS.c.report_id == report_id).with_for_update())
    of_organization = REPORTS.c.id == report_id, REPORTS.c.organization_id == remover.organization_id
    return connection.execute(select(REPORTS.c.file).where(*of_organization).with_for_update()).first()
