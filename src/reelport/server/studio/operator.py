"""The platform for operators, `/studio/operator`.

Its pages show the state now, reports and facts by day, loads and organizations. What a partner's reports are
about, their queries and channels, isn't told here: how many there were is, and how large.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup
from sqlalchemy import Engine, Row
from starlette.responses import Response

from reelport.catalog import Unit
from reelport.charts.chart_types import LineChart, Series
from reelport.charts.drawing import embed_chart
from reelport.errors import ReelportError, UsageError
from reelport.facts.input.rejects import find_kept_rejects, name_rejects, read_examples
from reelport.facts.log.freshness import COUNTED, DayState, TableReport, read_day_states, tables_report
from reelport.facts.log.history import Load, list_loads_since
from reelport.facts.log.log_entry import merge_spans
from reelport.facts.tables import TABLES
from reelport.language import N_, _
from reelport.report_details import State
from reelport.server.access import keys, operator_access, people
from reelport.server.queue import backlog, liveness
from reelport.server.queue.backlog import Entry
from reelport.server.reports.report_days import ReportDay, read_report_days
from reelport.server.settings import Settings
from reelport.server.state import tallies
from reelport.server.state.database import reading
from reelport.server.state.statements import Statements
from reelport.server.state.tables import to_moment
from reelport.server.studio import pages
from reelport.server.studio.pages import NavigationEntry
from reelport.server.studio.rights import Right
from reelport.server.studio.visit import Refused, Visit, not_found
from reelport.wording import format_days, format_list

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


def show_platform(visit: Visit) -> Response:
    """Show workers, queue and disks. Starting workers, of this machine, make no reports yet."""
    db, settings = visit.service.db, visit.service.settings
    ready = liveness.list_ready(db, settings)
    return _render(
        visit,
        "operator.html",
        ready=ready,
        starting=[owner for owner in liveness.list_living(settings) if owner not in ready],
        queue=[_make_queued(each, visit.now) for each in backlog.list_entries(db, unfinished_only=True, most=_QUEUE)],
        ended=sorted((*ending, count) for ending, count in tallies.read_tallies(db).ended.items()),
        disks=list(_list_disks(settings)),
    )


def _render(visit: Visit, template: str, **values: object) -> Response:
    return pages.render(visit, template, 200, pages=list_pages(visit), **values)


def list_pages(visit: Visit) -> list[NavigationEntry]:
    """List the pages that an operator may open."""
    return [each for each in PAGES if visit.may(each.right)]


def _make_queued(entry: Entry, now: datetime) -> QueuedReport:
    shown = entry.id, entry.organization, entry.state, entry.attempts, entry.created_at, entry.worker
    return QueuedReport(*shown, _explain_wait(entry, now))


def _explain_wait(entry: Entry, now: datetime) -> str:
    sentences = []
    if entry.state is State.RUNNING:
        sentences.append(_("It is being made."))
    elif entry.due_at is not None and entry.due_at > now:
        sentences.append(_("It is tried again from %(time)s UTC on.", time=format(entry.due_at, "%H:%M:%S")))
    elif entry.suspect:
        sentences.append(_("It may have killed a worker: it waits to be made alone."))
    else:
        sentences.append(_("It waits for a worker, at place %(place)s of its organization.", place=entry.place))
    if entry.waited_for_room:
        sentences.append(_("It has waited %(seconds)s s for room on the disk.", seconds=round(entry.waited_for_room)))
    if entry.reason:
        sentences.append(_("The last attempt failed: %(reason)s", reason=entry.reason))
    return " ".join(sentences)


def _list_disks(settings: Settings) -> Iterator[tuple[str, int, int]]:
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


def show_reports(visit: Visit) -> Response:
    """Show the reports of four weeks, day by day, as charts and as a table."""
    days = read_report_days(visit.service.db, visit.now)
    return _render(visit, "operator_reports.html", days=days[::-1], charts=draw_report_days(days))


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
        draw(_("Time from ask to file"), Unit.SECONDS, (_("half of them"), "median"), (_("95 of 100"), "slowest")),
        draw(_("Size of finished reports"), Unit.BYTES, (_("size"), "bytes")),
    ]


DAYS, LOADS = f"{PATH}/days", f"{PATH}/loads"
_EARLIEST = date(2000, 1, 1)
_MONTHS = 3  # months of days that a page shows
_LOADS_SHOWN = 50
_SPANS_SHOWN = 3
_DAY = timedelta(days=1)
# How a state looks: a sign that needs no colour, and its words.
STATES = {
    DayState.COMPLETE: ("✓", N_("complete")),
    DayState.RESTATED: ("R", N_("restated: complete, and replaced a day or more after it was over")),
    DayState.MOVING: ("○", N_("may still change")),
    DayState.MISSING: ("✗", N_("missing: it has no rows, and holds back all later days")),
}


Month = tuple[date, list[tuple[str, tuple[DayState | None, ...]]]]
"""The first day of a month, and for each table the states of its days, None of a day without anything."""


ShownLoad = tuple[Load, str, str, tuple[str, ...], str | None]
"""A load, its days and those that it restated in words, and why rows were rejected.

At the end the name of the file of rejects beside the loaded one, where the data directory has none.
"""


def show_days(visit: Visit) -> Response:
    """Show three months of days of each table, up to the month of the address."""
    root, today = visit.service.settings.facts_root, visit.now.date()
    last = _read_month(visit)
    months, tables, problem = list[Month](), tuple[TableReport, ...](), ""
    try:
        months, tables = read_months(root, last, today), tables_report(root, today)
    except ReelportError as error:
        problem = str(error)
    links = {"earlier": _write_address(DAYS, month=_shift(last, -_MONTHS)), "later": None}
    if last < today.replace(day=1):
        links["later"] = _write_address(DAYS, month=min(_shift(last, _MONTHS), today))
    return _render(
        visit,
        "operator_days.html",
        months=months,
        tables=tables,
        problem=problem,
        states={state: (sign, _(words)) for state, (sign, words) in STATES.items()},
        **links,
    )


def read_months(root: Path, last: date, today: date) -> list[Month]:
    """Read the states of days of the counted tables, up to the month that begins with `last`."""
    firsts = [_shift(last, -place) for place in range(_MONTHS)]
    since = datetime.combine(firsts[-1], time(), UTC)  # no earlier load restates one of these days
    restated = {
        table: [
            load.restated for load in list_loads_since(root, TABLES[table], since) if load.restated and not load.undone
        ]
        for table in COUNTED
    }
    months: list[Month] = []
    for first in firsts:
        days = [first + place * _DAY for place in range((_shift(first, 1) - first).days)]
        states = [(each, read_day_states(root, each, days, restated[each], today)) for each in COUNTED]
        months.append((first, states))
    return months


def show_loads(visit: Visit) -> Response:
    """Show the loads of a month, newest first, perhaps of one table."""
    given = visit.request.query_params
    month, table = _read_month(visit), given.get("table", "")
    chosen = [table] if table in TABLES else list(TABLES)
    page = int(given.get("page", "")) if re.fullmatch("[1-9][0-9]{0,5}", given.get("page", "")) else 1
    rows, count, problem = list[ShownLoad](), 0, ""
    try:
        rows, count = read_loads(visit.service.settings.facts_root, chosen, month, page)
    except ReelportError as error:
        problem = str(error)
    write = partial(_write_address, LOADS, table=chosen[0] if len(chosen) == 1 else "")
    is_past = month < visit.now.date().replace(day=1)
    return _render(
        visit,
        "operator_loads.html",
        rows=rows,
        count=count,
        problem=problem,
        tables=list(TABLES),
        table=table,
        month=month,
        older=write(month=month, page=page + 1) if count > page * _LOADS_SHOWN else None,
        earlier=write(month=_shift(month, -1)),
        later=write(month=_shift(month, 1)) if is_past else None,
    )


def read_loads(root: Path, tables: Sequence[str], month: date, page: int = 1) -> tuple[list[ShownLoad], int]:
    """Read a page of the loads of a month (UTC), newest first, and how many it has."""
    since, until = (datetime.combine(day, time(), UTC) for day in (month, _shift(month, 1)))
    found = [load for table in tables for load in list_loads_since(root, TABLES[table], since)]
    made = [(load.at, load.version, load.table, load) for load in found if load.at is not None and load.at < until]
    newest = [load for *_order, load in sorted(made, key=lambda each: each[:3], reverse=True)]
    return [_describe_load(root, each) for each in newest[(page - 1) * _LOADS_SHOWN : page * _LOADS_SHOWN]], len(newest)


def _describe_load(root: Path, load: Load) -> ShownLoad:
    reasons = read_examples(find_kept_rejects(root, load.batch)) if load.rejects else ()
    beside = name_rejects(load.sources[0], load.batch) if load.rejects and load.sources and not reasons else None
    return load, _format_spans(load), format_days(*load.restated) if load.restated else "", reasons, beside


def _format_spans(load: Load) -> str:
    spans = merge_spans((day, day) for day in load.days)
    more = [_("%(count)s more", count=len(spans) - _SPANS_SHOWN)] if len(spans) > _SPANS_SHOWN else []
    return format_list([*(format_days(*span) for span in spans[:_SPANS_SHOWN]), *more])


def _read_month(visit: Visit) -> date:
    now = visit.now.date().replace(day=1)
    try:
        given = date.fromisoformat(f"{visit.request.query_params.get('month', '')}-01")
    except ValueError:
        return now
    return min(max(given, _EARLIEST), now)


def _shift(first: date, months: int) -> date:
    place = first.year * 12 + first.month - 1 + months
    return date(place // 12, place % 12 + 1, 1)


def _write_address(path: str, *, month: date, **given: object) -> str:
    return f"{path}?{urlencode({'month': f'{month:%Y-%m}', **{name: value for name, value in given.items() if value}})}"


_SQL = Statements("studio/platform")
_ORGANIZATIONS = 200


def show_organizations(visit: Visit) -> Response:
    """Show at most 200 organizations, those with unfinished reports first."""
    rows = read_organizations(visit.service.db)
    return _render(visit, "operator_organizations.html", rows=rows, to_moment=to_moment)


def read_organizations(db: Engine, organization_id: int | None = None) -> Sequence[Row[*tuple[Any, ...]]]:
    """Read counts of what organizations have, of all or of one; `total` is how many there are."""
    with reading(db) as connection:
        values = {"organization": organization_id, "most": _ORGANIZATIONS}
        return _SQL.run(connection, "organizations", values).all()


def show_organization(visit: Visit) -> Response:
    """Show an organization's limits, keys, people and reports by day."""
    db, id_, now = visit.service.db, _read_id(visit), visit.now
    if not (rows := read_organizations(db, id_)):
        raise not_found()
    held = [key for key in keys.list_keys(db, rows[0].name) if key.revoked_at is None]
    days = read_report_days(db, now, id_)
    return _render(
        visit,
        "operator_organization.html",
        settings=visit.service.settings,
        found=rows[0],
        keys=[(key, keys.list_marks(key, now)) for key in held],
        people=people.list_people(db, id_, now),
        days=days,
        charts=draw_report_days(days),
    )


def _read_id(visit: Visit) -> int:
    """Read the id of the address; 0, which no organization has, for anything else."""
    return int(visit.named("organization")) if re.fullmatch("[0-9]{1,9}", visit.named("organization")) else 0


def begin_look(visit: Visit) -> Response:
    """Begin to look at an organization, and lead to its first page."""
    given = visit.user, _read_id(visit), visit.form.text("reason"), visit.actor, visit.now
    try:
        has_begun = operator_access.begin_look(visit.service.db, *given)
    except UsageError as error:
        raise Refused(400, N_("The reason is missing"), str(error)) from None
    if not has_begun:
        raise not_found()
    return pages.redirect(f"{pages.ROOT}/overview")


def end_look(visit: Visit) -> Response:
    """End the look of this session, and lead back to the organization's page for operators."""
    looked = visit.user.organization_id if visit.user.look else None
    operator_access.end_look(visit.service.db, visit.user, visit.now)
    return pages.redirect(f"{PATH}/organizations/{looked}" if looked else pages.ROOT)
