"""The platform's state for its operators: `/studio/operator`.

Of what a partner's reports hold there is nothing here: no rows, no bytes, no query and no channel.
"""

from __future__ import annotations

import shutil
import threading
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread
from sqlalchemy import Engine
from starlette.responses import Response

from reelport.errors import ReelportError
from reelport.facts.log.freshness import TableReport, tables_report
from reelport.facts.log.history import Load, list_loads
from reelport.language import N_
from reelport.report_details import State
from reelport.server.queue import backlog, liveness
from reelport.server.queue.backlog import Entry
from reelport.server.settings import Settings
from reelport.server.state import tallies
from reelport.server.state.database import reading
from reelport.server.state.statements import Statements
from reelport.server.state.tables import to_moment
from reelport.server.studio import pages
from reelport.server.studio.visit import Refused, Visit

if TYPE_CHECKING:
    from reelport.server.doctor.checks import Finding

PATH = f"{pages.ROOT}/operator"
_CHECKING = threading.Lock()
_SQL = Statements("studio/platform")
_ORGANIZATIONS = 200
_LOADS = 20
_QUEUE = 200


@dataclass(frozen=True, slots=True)
class OrganizationCounts:
    """How many channels, keys and people an organization has; `unfinished` reports wait or run."""

    name: str
    created_at: datetime
    channels: int
    keys: int
    people: int
    unfinished: int


@dataclass(frozen=True, slots=True)
class QueuedReport:
    """A report that waits or runs, and nothing of what it holds. `why` says what it waits for."""

    id: str
    organization: str
    state: State
    place: int | None
    attempts: int
    created_at: datetime
    worker: str | None
    why: str


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk, by what lies on it."""

    holds: str
    free: int
    total: int


@dataclass(frozen=True, slots=True)
class Platform:
    """All of it at one moment.

    `organizations` are at most 200, those with unfinished reports first. `ready` workers make reports, `starting` ones
    of this machine don't yet. `problem` says why the tables can't be read, if so.
    """

    organizations: tuple[OrganizationCounts, ...]
    organizations_in_all: int
    ready: tuple[str, ...]
    starting: tuple[str, ...]
    queue: tuple[QueuedReport, ...]
    ended: tuple[tuple[str, str, int], ...]
    tables: tuple[TableReport, ...]
    loads: tuple[Load, ...]
    disks: tuple[Disk, ...]
    problem: str = ""


async def show_platform(visit: Visit) -> Response:
    """Show organizations, workers, queue, loads and disks."""
    return await _show(visit, None)


async def run_doctor(visit: Visit) -> Response:
    """Run what `reelport doctor` checks, over the whole data directory, and show the findings."""
    return await _show(visit, await anyio.to_thread.run_sync(_run_checks, visit.service.settings))


async def _show(visit: Visit, findings: tuple[Finding, ...] | None) -> Response:
    service = visit.service
    state = await anyio.to_thread.run_sync(read_platform, service.db, service.settings, visit.now)
    # On a thread: hundreds of rows take longer than other requests should wait.
    return await anyio.to_thread.run_sync(partial(pages.render, visit, "operator.html", state=state, findings=findings))


def _run_checks(settings: Settings) -> tuple[Finding, ...]:
    """Run the checks, once at a time: each takes a core for a while."""
    from reelport.server.doctor.checks import run_checks  # noqa: PLC0415 - it loads the engine

    if not _CHECKING.acquire(blocking=False):
        sentence = N_("Somebody else began them: try again in a moment.")
        raise Refused(503, N_("The checks are running"), sentence, retry_after=10)
    try:
        return run_checks(settings)
    finally:
        _CHECKING.release()


def read_platform(db: Engine, settings: Settings, now: datetime) -> Platform:
    """Read the platform's state. Blocks: it reads the database, the tables' logs and the disks."""
    with reading(db) as connection:
        organizations = tuple(
            OrganizationCounts(row.name, to_moment(row.created_at), row.channels, row.keys, row.people, row.unfinished)
            for row in _SQL.run(connection, "organizations", {"most": _ORGANIZATIONS})
        )
        total = _SQL.run(connection, "total").scalar_one()
    ready = liveness.list_ready(db, settings)
    ended = tallies.read_tallies(db).ended
    tables, loads, problem = tuple[TableReport, ...](), tuple[Load, ...](), ""
    try:
        loads = tuple(sorted(list_loads(settings.facts_root), key=lambda load: str(load.at), reverse=True)[:_LOADS])
        tables = tables_report(settings.facts_root, now.date())
    except ReelportError as error:
        problem = str(error)
    return Platform(
        organizations,
        total,
        ready,
        tuple(owner for owner in liveness.list_living(settings) if owner not in ready),
        tuple(_make_queued(each, now) for each in backlog.list_entries(db, unfinished_only=True, most=_QUEUE)),
        tuple((outcome, reason, count) for (outcome, reason), count in sorted(ended.items())),
        tables,
        loads,
        tuple(_list_disks(settings)),
        problem,
    )


def _make_queued(entry: Entry, now: datetime) -> QueuedReport:
    why = _explain_wait(entry, now)
    return QueuedReport(
        entry.id, entry.organization, entry.state, entry.place, entry.attempts, entry.created_at, entry.worker, why
    )


def _explain_wait(entry: Entry, now: datetime) -> str:
    """Say what an unfinished report waits for, and why its last attempt failed, if one did."""
    sentences = []
    if entry.state is State.RUNNING:
        sentences.append("It is being made.")
    elif entry.due_at is not None and entry.due_at > now:
        sentences.append(f"It is tried again from {entry.due_at:%H:%M:%S} UTC on.")
    elif entry.suspect:
        sentences.append("It may have killed a worker: it waits to be made alone.")
    else:
        sentences.append(f"It waits for a worker, at place {entry.place} of its organization.")
    if entry.waited_for_room:
        sentences.append(f"It has waited {entry.waited_for_room:.0f} s for room on the disk.")
    if entry.reason:
        sentences.append(f"The last attempt failed: {entry.reason}")
    return " ".join(sentences)


def _list_disks(settings: Settings) -> list[Disk]:
    named: dict[int, list[str]] = {}
    folders: dict[int, Path] = {}
    for name, wanted in (
        ("data", settings.data),
        ("tables", settings.facts_root),
        ("reports", settings.files_root),
        ("spill", settings.spill_root),
    ):
        folder = next(each for each in (wanted, *wanted.absolute().parents) if each.is_dir())
        device = folder.stat().st_dev
        named.setdefault(device, []).append(name)
        folders.setdefault(device, folder)
    found = []
    for device, names in named.items():
        space = shutil.disk_usage(folders[device])
        found.append(Disk(", ".join(names), space.free, space.total))
    return found
