"""The reports of the organization, `/studio/reports`, and what each one's file holds."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import anyio.to_thread
from markupsafe import Markup
from starlette.responses import Response

from reelport.catalog import Dimension, Metric
from reelport.charts.chart_types import Chart
from reelport.charts.drawing import embed_chart
from reelport.charts.report_chart import NoChart
from reelport.charts.time_axis import describe_time
from reelport.engine.plan import Plan
from reelport.engine.report_format import CSV, CSV_GZ, CSV_ZST, FORM_TYPES, NDJSON, PARQUET, XLSX, FileType
from reelport.errors import StorageError
from reelport.language import N_, _
from reelport.report_details import State
from reelport.server.access import audit_log
from reelport.server.access.audit_log import Action
from reelport.server.access.keys import identify_studio
from reelport.server.explore import file_preview
from reelport.server.explore.file_preview import PreviewColumn, Rows, read_first_rows
from reelport.server.explore.numbers import OverBudget
from reelport.server.explore.view import name_cell
from reelport.server.files import signed_urls
from reelport.server.http.downloads import Unmade, require_form
from reelport.server.reports import removal, report_list
from reelport.server.reports.removal import Remover
from reelport.server.reports.report_list import Cursor, ListedReport, StateFilter
from reelport.server.state.database import writing
from reelport.server.studio import pages, view_page
from reelport.server.studio.formats import write_number
from reelport.server.studio.view_page import Cell
from reelport.server.studio.visit import Refused, Visit, not_found
from reelport.storage.file_cache import holding
from reelport.wire import NO_DAY

PATH = f"{pages.ROOT}/reports"
_FORMS = {
    XLSX.suffix: N_("Excel workbook (XLSX)"),
    PARQUET.suffix: "Parquet",
    NDJSON.suffix: "NDJSON",
    CSV_GZ.suffix: "CSV, gzip",
    CSV_ZST.suffix: "CSV, Zstandard",
}
_STATES = (N_("queued"), N_("running"), N_("cancelled"))  # those that no choice of the list names
_AGAIN_SECONDS = 2
"""After so long a page that shows something unfinished is looked at again."""


def show_reports(visit: Visit) -> Response:
    """Show a page of the list, newest first."""
    state = visit.request.query_params.get("state", "")
    shown = StateFilter(state) if state in set(StateFilter) else StateFilter.ALL
    cursor = Cursor.parse(visit.request.query_params.get("after", ""))
    given = visit.service.db, visit.reach, visit.now
    page = report_list.list_reports(*given, shown=shown, after=cursor)
    return pages.render(
        visit,
        "reports.html",
        page=page,
        shown=shown,
        filters=list(StateFilter),
        counts=report_list.count_by_filter(*given),
        is_first=cursor is None,
        next_path=page.next and f"{PATH}?{urlencode({'state': shown.value, 'after': str(page.next)})}",
        again=_AGAIN_SECONDS if page.has_unfinished else 0,
    )


async def show_report(visit: Visit) -> Response:
    """Show one report: its state, what may be done with it, and a preview of a finished one."""
    report = await anyio.to_thread.run_sync(_find_report, visit)
    preview: dict[str, Any] = {}
    if report.state is State.FINISHED:
        try:
            preview = await _read_preview(visit, report)
        except Refused as refused:
            preview = {"missing": _(refused.sentence)}
    return pages.render(
        visit,
        "report.html",
        report=report,
        preview=preview,
        may_change=visit.may_change(report.asked_by),
        again=0 if report.state.is_final else _AGAIN_SECONDS,
        query=json.dumps(report.query.to_wire(), indent=2, ensure_ascii=False),
        forms={suffix: _(label) for suffix, label in _FORMS.items()},
        no_day=NO_DAY,
    )


def cancel_report(visit: Visit) -> Response:
    """Cancel a report that hasn't ended."""
    report, remover = _find_own_report(visit), Remover(visit.organization_id, visit.actor)
    if not removal.cancel_report(visit.service.db, remover, report.id, visit.now):
        raise Refused(409, N_("It has ended already"), N_("This report had ended before it could be cancelled."))
    return pages.redirect(f"{PATH}/{report.id}")


def delete_report(visit: Visit) -> Response:
    """Delete a report that has ended, with its file."""
    report, remover = _find_own_report(visit), Remover(visit.organization_id, visit.actor)
    if not removal.delete_report(visit.service.db, visit.service.settings, remover, report.id, visit.now):
        raise Refused(409, N_("It has not ended"), N_("Cancel the report first: then it can be deleted."))
    return pages.redirect(PATH)


async def download_report(visit: Visit) -> Response:
    """Send the browser to a fresh link of the file in a form."""
    report = await anyio.to_thread.run_sync(_find_report, visit)
    if report.state is not State.FINISHED:
        raise Refused(409, N_("There is no file"), N_("This report has no file now: look at its page."))
    form = {"": CSV, **FORM_TYPES}.get(visit.form.text("form"))
    if form is None:
        raise Refused(400, N_("There is no such form"), N_("Choose a form on the report's page."))
    if form is not CSV:  # before the link is made: a browser shows what the link answers as it is
        made = await require_form(visit.request, form, report.id, visit.organization_id, report.rows or 0)
        if isinstance(made, Unmade):
            raise Refused(made.status, N_("The file is not there"), made, retry_after=5 if made.may_pass else None)
    link = await anyio.to_thread.run_sync(_make_link, visit, report, form)
    return pages.redirect(link)


def find_report(visit: Visit, report_id: str) -> ListedReport:
    """Find a report of the visitor's organization; any other is refused as not found."""
    found = report_list.find_listed_report(visit.service.db, visit.reach, report_id, visit.now)
    if found is None:
        raise not_found()
    return found


def _find_report(visit: Visit) -> ListedReport:
    return find_report(visit, visit.named("report_id"))


def _find_own_report(visit: Visit) -> ListedReport:
    report = _find_report(visit)
    if not visit.may_change(report.asked_by):
        sentence = N_(
            "You may cancel and delete the reports that you asked for. An owner of your organization may do it."
        )
        raise Refused(403, N_("Not yours to do"), sentence)
    return report


def _make_link(visit: Visit, report: ListedReport, form: FileType) -> str:
    service = visit.service
    key_id = identify_studio(service.db, visit.reach, visit.now).key_id
    done = Action.REPORT_DOWNLOADED, report.id, visit.now, {"query": report.query.to_wire()}
    with writing(service.db) as connection:
        audit_log.record_action(connection, visit.organization_id, visit.actor, *done)
    until = min(visit.now + timedelta(seconds=service.settings.link_seconds), report.expires_at)
    return signed_urls.sign_url(service.service_secret, report.id, key_id, until, form)


_ROWS = 50
"""Rows of a file that its page shows."""


async def _read_preview(visit: Visit, report: ListedReport) -> dict[str, Any]:
    async with _open_file(visit, report) as file:
        given = visit.service.settings.report_store, file.name, _ROWS
        rows = await anyio.to_thread.run_sync(read_first_rows, *given)
        chart = await _draw_chart(visit, report, file)
        columns = await file_preview.total_columns(file, report.query, partial(_fetch, visit))
    return {
        "chart": None if isinstance(chart, NoChart) else Markup(embed_chart(chart)),  # noqa: S704 - its texts are escaped
        "heading": chart.reason if isinstance(chart, NoChart) else chart.heading,
        "kinds": view_page.list_kinds(),
        "columns": columns,
        # Written as in the rest of Studio, each with its text in the file.
        "rows": [
            [Cell(_write_cell(column, text) if text else "", text) for column, text in zip(columns, row, strict=False)]
            for row in rows
        ],
        "write_total": lambda column: "" if column.total is None else _write_number(column, column.total),
    }


async def download_chart(visit: Visit) -> Response:
    """Give a finished report's chart as a file."""
    kind = visit.named("kind")
    view_page.require_kind(kind)
    report = await anyio.to_thread.run_sync(_find_report, visit)
    async with _open_file(visit, report) as file:
        chart = await _draw_chart(visit, report, file)
    if isinstance(chart, NoChart):
        raise Refused(409, N_("There is no chart"), chart.reason)
    return await view_page.answer_chart(chart, kind, report.query)


@asynccontextmanager
async def _open_file(visit: Visit, report: ListedReport) -> AsyncIterator[Path]:
    """Hold a report's file. Refused without it: a report may be deleted at any moment."""
    if report.state is not State.FINISHED or report.file is None:
        raise Refused(409, N_("There is no file"), N_("This report has no file now: look at its page."))
    file: Path | None = None
    with holding():
        try:
            (file,) = await anyio.to_thread.run_sync(visit.service.settings.report_store.local_paths, [report.file])
            yield file
        except (FileNotFoundError, StorageError) as error:
            if file.is_file() if file else not isinstance(error.__cause__, FileNotFoundError):
                raise
            sentence = N_("The file of this report is missing: ask for it again.")
            raise Refused(409, N_("There is no file"), sentence) from error


async def _draw_chart(visit: Visit, report: ListedReport, file: Path) -> Chart | NoChart:
    return await file_preview.draw_chart(file, report.query, report.last_complete_day, partial(_fetch, visit))


async def _fetch(visit: Visit, plan: Plan) -> Rows | OverBudget:
    return await visit.service.explorer.run(visit.organization_id, lambda engine, session: engine.fetch(session, plan))


def _write_cell(column: PreviewColumn, text: str) -> str:
    match column.look:
        case "number":
            try:
                return _write_number(column, Decimal(text))
            except InvalidOperation:
                return text
        case "time":
            return describe_time(text)
        case _:
            return name_cell(Dimension[column.header.upper()], text)


def _write_number(column: PreviewColumn, value: Decimal) -> str:
    metric = Metric[column.header.upper()]
    return write_number(metric, value if metric.digits else int(value))
