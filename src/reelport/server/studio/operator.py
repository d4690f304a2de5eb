"""The platform for operators, `/studio/operator`: its state now, and reports over days.

What a partner's reports are about, their queries and channels, isn't told here: how many there were is, and how large.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from operator import attrgetter
from pathlib import Path

import anyio.to_thread
from markupsafe import Markup
from sqlalchemy import Engine
from starlette.responses import Response

from reelport.catalog import Unit
from reelport.charts.chart_types import LineChart, Series
from reelport.charts.drawing import embed_chart
from reelport.language import N_, _
from reelport.report_details import State
from reelport.server.queue import backlog, liveness
from reelport.server.queue.backlog import Entry
from reelport.server.reports.report_days import ReportDay, read_report_days
from reelport.server.settings import Settings
from reelport.server.state import tallies
from reelport.server.studio import pages
from reelport.server.studio.pages import NavigationEntry
from reelport.server.studio.rights import Right
from reelport.server.studio.visit import Visit

PATH = f"{pages.ROOT}/operator"
# The pages for operators, in the order of their navigation.
PAGES = (
    NavigationEntry(PATH, N_("Now"), Right.OPERATE),
    NavigationEntry(f"{PATH}/numbers", N_("Numbers"), Right.READ_PLATFORM),
    NavigationEntry(f"{PATH}/days", N_("Days"), Right.OPERATE),
    NavigationEntry(f"{PATH}/loads", N_("Loads"), Right.OPERATE),
    NavigationEntry(f"{PATH}/reports", N_("Reports"), Right.OPERATE),
    NavigationEntry(f"{PATH}/organizations", N_("Organizations"), Right.OPERATE),
)
_QUEUE = 200


@dataclass(frozen=True, slots=True)
class QueuedReport:
    """A report that waits or runs, and nothing of what it holds. `why` says what it waits for."""

    id: str
    organization: str
    state: State
    attempts: int
    created_at: datetime
    worker: str | None
    why: str


async def show_platform(visit: Visit) -> Response:
    """Show workers, queue and disks."""
    service = visit.service
    state = await anyio.to_thread.run_sync(_read_platform, service.db, service.settings, visit.now)
    return await render(visit, "operator.html", **state)


async def render(visit: Visit, template: str, **values: object) -> Response:
    """Render a page for operators, on a thread: hundreds of rows take a while."""
    menu = list_pages(visit)
    return await anyio.to_thread.run_sync(partial(pages.render, visit, template, 200, pages=menu, **values))


def list_pages(visit: Visit) -> list[tuple[str, str]]:
    """List the pages that an operator may open, each with its words."""
    return [(each.path, _(each.label)) for each in PAGES if visit.may(each.right)]


def _read_platform(db: Engine, settings: Settings, now: datetime) -> dict[str, object]:
    """Read the platform's state. Starting workers, of this machine, make no reports yet."""
    ready = liveness.list_ready(db, settings)
    return {
        "ready": ready,
        "starting": [owner for owner in liveness.list_living(settings) if owner not in ready],
        "queue": [_make_queued(each, now) for each in backlog.list_entries(db, unfinished_only=True, most=_QUEUE)],
        "ended": sorted((*ending, count) for ending, count in tallies.read_tallies(db).ended.items()),
        "disks": list(_list_disks(settings)),
    }


def _make_queued(entry: Entry, now: datetime) -> QueuedReport:
    shown = entry.id, entry.organization, entry.state, entry.attempts, entry.created_at, entry.worker
    return QueuedReport(*shown, _explain_wait(entry, now))


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


def _list_disks(settings: Settings) -> Iterator[tuple[str, int, int]]:
    """List the disks: what lies on each, its free bytes and all of them."""
    disks: dict[int, tuple[list[str], Path]] = {}
    for name, wanted in (
        ("data", settings.data),
        ("tables", settings.facts_root),
        ("reports", settings.files_root),
        ("spill", settings.spill_root),
    ):
        folder = next(each for each in (wanted, *wanted.absolute().parents) if each.is_dir())
        disks.setdefault(folder.stat().st_dev, ([], folder))[0].append(name)
    for names, folder in disks.values():
        space = shutil.disk_usage(folder)
        yield ", ".join(names), space.free, space.total


async def show_reports(visit: Visit) -> Response:
    """Show the reports of four weeks, day by day, as charts and as a table."""
    days = await anyio.to_thread.run_sync(read_report_days, visit.service.db, visit.now)
    charts = await anyio.to_thread.run_sync(draw_report_days, days)
    return await render(visit, "operator_reports.html", days=days[::-1], charts=charts)


def draw_report_days(days: Sequence[ReportDay]) -> list[tuple[str, Markup]]:
    """Draw the days as charts, each with its heading."""
    times = tuple(str(each.day) for each in days)

    def draw(heading: str, unit: Unit | None, *lines: tuple[str, str]) -> tuple[str, Markup]:
        series = tuple(Series(name, tuple(map(attrgetter(field), days))) for name, field in lines)
        notes = (_("The last day isn't over yet."),) if any(value for each in series for value in each.values) else ()
        chart = LineChart(heading, times, series, unit, notes=notes)
        return heading, Markup(embed_chart(chart))  # noqa: S704 - its texts are escaped

    asked = (_("asked for"), "asked"), (_("finished"), "finished")
    return [
        draw(_("Reports by day"), None, *asked, (_("failed"), "failed")),
        draw(_("Unfinished reports, the most at the same time"), None, (_("unfinished"), "most")),
        draw(
            _("Time from ask to file"),
            Unit.SECONDS,
            (_("half of them"), "median"),
            (_("95 of 100"), "slowest"),
        ),
        draw(_("Size of finished reports"), Unit.BYTES, (_("size"), "bytes")),
    ]
