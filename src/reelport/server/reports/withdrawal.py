"""Withdraws access: channels from an organization, or an organization as a whole, with all that was made by it.

Each is one transaction: whoever asks, looks or fetches after it finds nothing. Facts stay as they are.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, Row, Select, select

from reelport.check import nearest
from reelport.errors import UsageError
from reelport.server.access import organizations
from reelport.server.access.callers import find_readable_channels
from reelport.server.files import report_files
from reelport.server.queue import wakeups
from reelport.server.queue.wakeups import Occasion
from reelport.server.settings import Settings
from reelport.server.state import tallies
from reelport.server.state.database import reading, writing
from reelport.server.state.tables import JOBS, KEY_CHANNELS, KEYS, ORGANIZATIONS, READABLE, REPORTS
from reelport.server.state.tallies import Outcome
from reelport.wire import ReportStatus


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """What a withdrawal ends: keys and files by name, the others counted. `narrowed` keys lose some of their channels.

    `forgotten` reports had ended before, by failing or by their age.
    """

    channels: int
    keys: tuple[str, ...]
    narrowed: tuple[str, ...]
    waiting: int
    running: int
    finished: int
    forgotten: int
    files: tuple[str, ...]


def remove_channels(
    db: Engine, settings: Settings, organization: str, channels: Collection[str], now: datetime
) -> Withdrawal:
    """Let an organization read these channels (ids) no longer; UsageError names all that it doesn't read.

    Every report that covers one of them is gone at once, and its file. A key that is limited to channels loses
    these, and is revoked when it has none left.
    """
    with writing(db) as connection:
        holder = organizations.lock_organization(connection, organization)
        _check_readable(connection, holder, channels)
        gone = frozenset(channels)
        lists = _find_channel_lists(connection, holder.id, gone)
        ended = _count_withdrawal(connection, holder.id, gone, lists)
        connection.execute(
            READABLE.delete().where(READABLE.c.organization_id == holder.id, READABLE.c.channel_id.in_(gone))
        )
        connection.execute(
            KEY_CHANNELS.delete().where(
                KEY_CHANNELS.c.key_id.in_(_select_keys(holder.id)), KEY_CHANNELS.c.channel_id.in_(gone)
            )
        )
        connection.execute(KEYS.update().where(KEYS.c.id.in_(ended.keys)).values(revoked_at=now))
        _delete_reports(connection, holder.id, lists)
    _delete_files(settings, ended)
    return ended


def remove_organization(db: Engine, settings: Settings, organization: str) -> Withdrawal:
    """End an organization: its keys, tokens and reports are gone, and its name is free.

    UsageError when there is none.
    """
    with writing(db) as connection:
        holder = organizations.lock_organization(connection, organization)
        lists = _find_channel_lists(connection, holder.id, None)
        ended = _count_withdrawal(connection, holder.id, None, lists)
        _delete_reports(connection, holder.id, lists)
        connection.execute(KEY_CHANNELS.delete().where(KEY_CHANNELS.c.key_id.in_(_select_keys(holder.id))))
        for table in (KEYS, READABLE):
            connection.execute(table.delete().where(table.c.organization_id == holder.id))
        connection.execute(ORGANIZATIONS.delete().where(ORGANIZATIONS.c.id == holder.id))
    _delete_files(settings, ended)
    return ended


def preview_removal(db: Engine, organization: str) -> Withdrawal:
    """What `remove_organization` would end now."""
    with reading(db) as connection:
        holder = organizations.find_organization(connection, organization)
        return _count_withdrawal(connection, holder.id, None, _find_channel_lists(connection, holder.id, None))


def _check_readable(connection: Connection, holder: organizations.Organization, channels: Collection[str]) -> None:
    known = find_readable_channels(connection, holder.id)
    wrong = [f"{holder.name} reads no channel {id_!r}.{_suggest(id_, known)}" for id_ in channels if id_ not in known]
    if not channels:
        wrong = ["Name the channels that are to be removed by --id."]
    if wrong:
        raise UsageError("\n".join(wrong))


def _suggest(id_: str, known: Collection[str]) -> str:
    near = nearest(id_, known)
    return f" Did you mean {near}?" if near else ""


def _count_withdrawal(
    connection: Connection, organization_id: int, gone: frozenset[str] | None, lists: Iterable[str]
) -> Withdrawal:
    """What ends with these channels of an organization, or with all of it when None; `lists` as `_covering` gives."""
    ended, narrowed = _find_affected_keys(connection, organization_id, gone)
    rows = [row for channels in lists for row in _find_reports(connection, organization_id, channels)]
    states = [_classify(row) for row in rows]
    return Withdrawal(
        channels=len(find_readable_channels(connection, organization_id) if gone is None else gone),
        keys=ended,
        narrowed=narrowed,
        waiting=states.count("waiting"),
        running=states.count("running"),
        finished=states.count("finished"),
        forgotten=states.count("forgotten"),
        files=tuple(row.file for row in rows if row.file is not None),
    )


def _find_affected_keys(
    connection: Connection, organization_id: int, gone: frozenset[str] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The keys that end, and those that lose some of their channels; keys that were revoked before are in neither."""
    alive = KEYS.c.organization_id == organization_id, KEYS.c.revoked_at.is_(None)
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


def _find_channel_lists(connection: Connection, organization_id: int, gone: frozenset[str] | None) -> tuple[str, ...]:
    """The lists of channels, as reports have them, that hold one of these; every one when None.

    Many reports have the same list: each is read once.
    """
    lists = select(REPORTS.c.channels).where(REPORTS.c.organization_id == organization_id).distinct()
    texts = connection.execute(lists).scalars().all()
    return tuple(text for text in texts if gone is None or not gone.isdisjoint(json.loads(text)))


def _find_reports(connection: Connection, organization_id: int, channels: str) -> Iterator[Row[*tuple[str, ...]]]:
    found = (
        select(REPORTS.c.status, REPORTS.c.file, JOBS.c.number, JOBS.c.owner)
        .outerjoin(JOBS, JOBS.c.report_id == REPORTS.c.id)
        .where(REPORTS.c.organization_id == organization_id, REPORTS.c.channels == channels)
    )
    yield from connection.execute(found)


def _classify(row: Row[*tuple[str, ...]]) -> str:
    if row.number is not None:
        return "waiting" if row.owner is None else "running"
    return "finished" if row.status == ReportStatus.FINISHED.value else "forgotten"


def _delete_reports(connection: Connection, organization_id: int, lists: Iterable[str]) -> None:
    """Delete the reports over these lists of channels. A worker that makes one finds its job gone, and stops."""
    # By number, as whoever writes several jobs at once: two such transactions must not wait for each other.
    held = select(JOBS.c.number).where(JOBS.c.organization_id == organization_id).order_by(JOBS.c.number)
    connection.execute(held.with_for_update())
    unmade = 0
    for channels in lists:
        these = REPORTS.c.organization_id == organization_id, REPORTS.c.channels == channels
        # Jobs first, as wherever both are written, for the same reason.
        jobs = JOBS.delete().where(JOBS.c.report_id.in_(select(REPORTS.c.id).where(*these)))
        unmade += connection.execute(jobs).rowcount
        connection.execute(REPORTS.delete().where(*these))
    tallies.count_end(connection, Outcome.CANCELLED, "access_withdrawn", times=unmade)


def _delete_files(settings: Settings, ended: Withdrawal) -> None:
    """Delete the files at once, and wake whoever waits for one of the reports."""
    for name in ended.files:
        # What stays, as on another machine's disk, belongs to no report any more: the next sweep deletes it.
        with suppress(OSError):
            report_files.file_path(settings, name).unlink(missing_ok=True)
    wakeups.notify(settings, Occasion.ENDED)
