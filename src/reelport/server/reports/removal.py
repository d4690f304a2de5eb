"""Removes reports: one by its person, or all of channels or of an organization.

Each removal is one transaction with a row of the audit log: every request after it is refused or finds nothing. The
loaded facts stay.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, Select, and_, func, select

from reelport.errors import StorageError, UsageError
from reelport.server.access import audit_log, organizations, withdrawn_links
from reelport.server.access.audit_log import Action, Actor
from reelport.server.access.callers import find_readable_channels
from reelport.server.access.key_expiry import KeyKind
from reelport.server.events import Event, Kind, publish
from reelport.server.files import forms
from reelport.server.queue import jobs
from reelport.server.settings import Settings
from reelport.server.state import tallies
from reelport.server.state.database import reading, writing
from reelport.server.state.postgresql_engine import unhurried
from reelport.server.state.tables import (
    JOBS,
    KEY_CHANNELS,
    KEYS,
    ORGANIZATIONS,
    READABLE,
    REPORTS,
    SAVED_VIEWS,
    SHARED_VIEWS,
    USERS,
)
from reelport.server.state.tallies import Outcome
from reelport.similar_names import suggest
from reelport.wire import ReportStatus


@dataclass(frozen=True, slots=True)
class Remover:
    """Who cancels or deletes, and of which organization."""

    organization_id: int
    actor: Actor


def cancel_report(db: Engine, remover: Remover, report_id: str, now: datetime) -> bool:
    """End a report as failed, with who did it as reason; False for an ended or foreign one."""
    with writing(db) as connection:
        found = _lock_report(connection, remover, report_id)
        if found is None:
            return False
        reason = f"It was cancelled by {remover.actor.name}."
        cancelled = jobs.cancel_job(connection, report_id, reason, now, by=jobs.Canceller.USER)
        if cancelled:
            subject = Action.REPORT_CANCELLED, report_id, now, {"query": json.loads(found.query)}
            audit_log.record_action(connection, remover.organization_id, remover.actor, *subject)
        return cancelled


def delete_report(db: Engine, settings: Settings, remover: Remover, report_id: str, now: datetime) -> bool:
    """Delete the record and the files of a report that has ended.

    Its id, token and links are then unknown, and a download that runs ends at its next check. False when it hasn't
    ended, or is another organization's.
    """
    with writing(db) as connection:
        found = _lock_report(connection, remover, report_id)
        if found is None or connection.execute(select(JOBS.c.number).where(JOBS.c.report_id == report_id)).first():
            return False
        files = () if found.file is None else (found.file, *forms.list_files(connection, REPORTS.c.id == report_id))
        connection.execute(REPORTS.delete().where(REPORTS.c.id == report_id))
        subject = Action.REPORT_DELETED, report_id, now, {"query": json.loads(found.query)}
        audit_log.record_action(connection, remover.organization_id, remover.actor, *subject)
    _delete_files(settings, files)
    return True


def _lock_report(connection: Connection, remover: Remover, report_id: str) -> Row[*tuple[Any, ...]] | None:
    # Jobs before reports, as in every transaction that writes both: otherwise two could deadlock.
    connection.execute(select(JOBS.c.number).where(JOBS.c.report_id == report_id).with_for_update())
    of_organization = REPORTS.c.id == report_id, REPORTS.c.organization_id == remover.organization_id
    return connection.execute(select(REPORTS.c.file, REPORTS.c.query).where(*of_organization).with_for_update()).first()


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """What a withdrawal removes: keys and files by name, the others counted.

    `narrowed` keys lose some channels. `links` are those to shared views that work no more. `forgotten` counts the
    records of reports that had failed or expired before.
    """

    channels: int
    keys: tuple[str, ...]
    narrowed: tuple[str, ...]
    users: int
    waiting: int
    running: int
    finished: int
    forgotten: int
    files: tuple[str, ...]
    links: int = 0


def remove_channels(
    db: Engine, settings: Settings, organization: str, channels: Collection[str], now: datetime
) -> Withdrawal:
    """Remove channels (ids) from those that an organization may read.

    UsageError lists all that it doesn't read. Every report that covers one of them is deleted at once, with its
    file. A key that is limited to channels loses these, and is revoked when it has none left; so does a link to a
    shared view.
    """
    with writing(db) as connection, unhurried(connection):
        holder = organizations.lock_organization(connection, organization)
        known = find_readable_channels(connection, holder.id)
        unread = [id_ for id_ in channels if id_ not in known]
        wrong = [f"{holder.name} reads no channel {id_!r}.{suggest(id_, sorted(known))}" for id_ in unread]
        if wrong or not channels:
            raise UsageError("\n".join(wrong) or "Name the channels that are to be removed by --id.")
        gone = frozenset(channels)
        affected = _find_affected_reports(connection, holder.id, gone)
        ended = _count_withdrawal(connection, holder.id, gone, affected)
        connection.execute(
            READABLE.delete().where(READABLE.c.organization_id == holder.id, READABLE.c.channel_id.in_(gone))
        )
        connection.execute(
            KEY_CHANNELS.delete().where(
                KEY_CHANNELS.c.key_id.in_(_select_keys(holder.id)), KEY_CHANNELS.c.channel_id.in_(gone)
            )
        )
        connection.execute(KEYS.update().where(KEYS.c.id.in_(ended.keys)).values(revoked_at=now))
        _delete_reports(connection, holder.id, affected)
        ended = replace(ended, links=withdrawn_links.withdraw_channels(connection, holder.id, gone, now))
        details = {"channels": sorted(gone), **_describe(ended)}
        audit_log.record_command(connection, holder.id, Action.CHANNELS_REMOVED, "", details)
    _delete_files(settings, ended.files)
    return ended


def remove_organization(db: Engine, settings: Settings, organization: str) -> Withdrawal:
    """Delete an organization with its keys, tokens and reports; UsageError when there is none."""
    with writing(db) as connection, unhurried(connection):
        holder = organizations.lock_organization(connection, organization)
        affected = _find_affected_reports(connection, holder.id, None)
        ended = _count_withdrawal(connection, holder.id, None, affected)
        ended = replace(ended, links=withdrawn_links.count_open_links(connection, holder.id, datetime.now(UTC)))
        _delete_reports(connection, holder.id, affected)
        connection.execute(KEY_CHANNELS.delete().where(KEY_CHANNELS.c.key_id.in_(_select_keys(holder.id))))
        # Users before keys, as where a token is granted to a user. Their refresh tokens go with them.
        for table in (SAVED_VIEWS, SHARED_VIEWS, USERS, KEYS, READABLE):
            connection.execute(table.delete().where(table.c.organization_id == holder.id))
        connection.execute(ORGANIZATIONS.delete().where(ORGANIZATIONS.c.id == holder.id))
        # No id: the next organization may get the same id, and its owners read the rows that have it.
        audit_log.record_command(connection, None, Action.ORGANIZATION_REMOVED, holder.name, _describe(ended))
    _delete_files(settings, ended.files)
    return ended


def preview_removal(db: Engine, organization: str) -> Withdrawal:
    """Count what `remove_organization` would remove now, without removing it."""
    with reading(db) as connection:
        holder = organizations.find_organization(connection, organization)
        affected = _find_affected_reports(connection, holder.id, None)
        return _count_withdrawal(connection, holder.id, None, affected)


def _describe(ended: Withdrawal) -> dict[str, object]:
    counts = {"keys": len(ended.keys), "users": ended.users, "reports": ended.waiting + ended.running + ended.finished}
    counts["ended_links"] = ended.links
    return {name: count for name, count in counts.items() if count}


def _count_withdrawal(
    connection: Connection, organization_id: int, gone: frozenset[str] | None, affected: ColumnElement[bool]
) -> Withdrawal:
    """Count what goes with these channels (`gone`), or with the whole organization when None."""
    ended, narrowed = _find_affected_keys(connection, organization_id, gone)
    reports = select(REPORTS.c.status, REPORTS.c.file, JOBS.c.number, JOBS.c.owner)
    rows = connection.execute(reports.outerjoin(JOBS, JOBS.c.report_id == REPORTS.c.id).where(affected)).all()
    states = [_classify(row) for row in rows]
    users = select(func.count()).select_from(USERS).where(USERS.c.organization_id == organization_id)
    return Withdrawal(
        channels=len(find_readable_channels(connection, organization_id) if gone is None else gone),
        keys=ended,
        narrowed=narrowed,
        users=connection.execute(users).scalar_one() if gone is None else 0,
        waiting=states.count("waiting"),
        running=states.count("running"),
        finished=states.count("finished"),
        forgotten=states.count("forgotten"),
        files=(*(row.file for row in rows if row.file is not None), *forms.list_files(connection, affected)),
    )


def _find_affected_keys(
    connection: Connection, organization_id: int, gone: frozenset[str] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Find the valid keys to revoke, and those to narrow; not Studio's, which nobody made."""
    listed = KEYS.c.revoked_at.is_(None), KEYS.c.kind != KeyKind.STUDIO.value
    alive = KEYS.c.organization_id == organization_id, *listed
    keys = connection.execute(select(KEYS.c.id).where(*alive).order_by(KEYS.c.id)).scalars().all()
    if gone is None:
        return tuple(keys), ()
    limits = select(KEYS.c.id, KEY_CHANNELS.c.channel_id).join(KEY_CHANNELS).where(*alive, KEYS.c.limited == 1)
    held: dict[str, set[str]] = {}
    for key, channel in connection.execute(limits):
        held.setdefault(key, set()).add(channel)
    ended = tuple(key for key in keys if key in held and held[key] <= gone)
    return ended, tuple(key for key in keys if key in held and held[key] & gone and key not in ended)


def _select_keys(organization_id: int) -> Select[str]:
    return select(KEYS.c.id).where(KEYS.c.organization_id == organization_id)


def _find_affected_reports(
    connection: Connection, organization_id: int, gone: frozenset[str] | None
) -> ColumnElement[bool]:
    """Make the condition of reports that cover one of these channels; of all for None."""
    of_organization = REPORTS.c.organization_id == organization_id
    if gone is None:
        return of_organization
    lists = connection.execute(select(REPORTS.c.channels).where(of_organization).distinct()).scalars()
    affected = [channels for channels in lists if not gone.isdisjoint(json.loads(channels))]
    return and_(of_organization, REPORTS.c.channels.in_(affected))


def _classify(row: Row[*tuple[str, ...]]) -> str:
    if row.number is not None:
        return "waiting" if row.owner is None else "running"
    return "finished" if row.status == ReportStatus.FINISHED.value else "forgotten"


def _delete_reports(connection: Connection, organization_id: int, affected: ColumnElement[bool]) -> None:
    # Lock jobs by number, as every transaction does that writes several: otherwise two could deadlock.
    held = select(JOBS.c.number).where(JOBS.c.organization_id == organization_id).order_by(JOBS.c.number)
    connection.execute(held.with_for_update())
    # Jobs before reports, as in every transaction that writes both, for the same reason.
    jobs = JOBS.delete().where(JOBS.c.report_id.in_(select(REPORTS.c.id).where(affected)))
    unmade = connection.execute(jobs.returning(JOBS.c.report_id)).scalars().all()
    connection.execute(REPORTS.delete().where(affected))
    for report_id in unmade:
        publish(connection, Event(Kind.REPORT_ENDED, report_id))
    tallies.count_end(connection, Outcome.CANCELLED, "access_withdrawn", times=len(unmade))


def _delete_files(settings: Settings, names: Iterable[str]) -> None:
    for name in names:
        # A file that can't be deleted, as on another machine's disk, is an orphan now: the next sweep deletes it.
        with suppress(StorageError):
            settings.report_store.delete(name)
