"""The preview of a finished report: its chart, its columns with totals, its first rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from functools import partial
from pathlib import Path

import anyio.to_thread
from markupsafe import Markup
from starlette.responses import Response

from reelport.catalog import Metric
from reelport.charts import Chart, NoChart, embed_chart
from reelport.engine.plan import Plan
from reelport.errors import StorageError
from reelport.query_sentence import describe_query
from reelport.server.explore import file_preview
from reelport.server.explore.file_preview import PreviewColumn, Rows, read_first_rows
from reelport.server.explore.numbers import OverBudget
from reelport.server.http.disconnection import run_while_connected
from reelport.server.reports.report_list import ListedReport, State
from reelport.server.studio import pages, view_page
from reelport.server.studio.number_text import write_number
from reelport.server.studio.reports import find_report, words
from reelport.server.studio.view_page import Cell
from reelport.server.studio.visit import Refused, Visit
from reelport.storage.file_cache import holding

_ROWS = 50
"""Rows of a file that a preview shows."""


async def show_preview(visit: Visit) -> Response:
    """Show what a finished report holds."""
    with holding():
        report, file = await _find_file(visit)
        rows = await _read_rows(visit, file)
        total = partial(file_preview.total_columns, file, report.query, partial(_fetch, visit))
        with _present(file):
            chart = await _draw_chart(visit, report, file)
            columns = await run_while_connected(visit.request, total)
    return pages.render(
        visit,
        "report_preview.html",
        report=report,
        heading=describe_query(report.query),
        chart=None if isinstance(chart, NoChart) else _embed(chart),
        chart_heading=None if isinstance(chart, NoChart) else chart.heading,
        reason=chart.reason if isinstance(chart, NoChart) else None,
        kinds=view_page.list_kinds(),
        columns=columns,
        rows=[list(_write_cells(columns, row)) for row in rows],
        write_total=_write_total,
        words=words(visit),
    )


async def download_chart(visit: Visit) -> Response:
    """Give a finished report's chart as a file."""
    kind = visit.request.path_params["kind"]
    view_page.require_kind(kind)
    with holding():
        report, file = await _find_file(visit)
        with _present(file):
            chart = await _draw_chart(visit, report, file)
    if isinstance(chart, NoChart):
        raise Refused(409, "There is no chart", chart.reason)
    return await view_page.answer_chart(chart, kind, report.query)


async def _find_file(visit: Visit) -> tuple[ListedReport, Path]:
    report = await find_report(visit, visit.request.path_params["report_id"])
    if report.state is not State.FINISHED or report.file is None:
        raise Refused(409, "There is no file", "This report has no file now: look at its page.")
    find_paths = partial(visit.service.settings.report_store.local_paths, [report.file])
    try:
        return report, (await anyio.to_thread.run_sync(find_paths))[0]
    except StorageError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        raise _missing() from error


async def _draw_chart(visit: Visit, report: ListedReport, file: Path) -> Chart | NoChart:
    draw = partial(file_preview.draw_chart, file, report.query, report.last_complete_day, partial(_fetch, visit))
    return await run_while_connected(visit.request, draw)


async def _fetch(visit: Visit, plan: Plan) -> Rows | OverBudget:
    return await visit.service.explorer.fetch(plan, visit.organization_id)


async def _read_rows(visit: Visit, file: Path) -> list[list[str]]:
    work = partial(read_first_rows, visit.service.settings.report_store, file.name, _ROWS)
    try:
        return await anyio.to_thread.run_sync(work)
    except FileNotFoundError as error:
        raise _missing() from error


@contextmanager
def _present(file: Path) -> Iterator[None]:
    """Refuse the page when the block can't read a file that is gone.

    A report may be deleted at any moment.
    """
    try:
        yield
    except StorageError as error:
        if file.is_file():
            raise
        raise _missing() from error


def _missing() -> Refused:
    return Refused(409, "There is no file", "The file of this report is missing: ask for it again.")


def _embed(chart: Chart) -> Markup:
    return Markup(embed_chart(chart))  # noqa: S704 - SVG whose texts are escaped where it is drawn


def _write_total(column: PreviewColumn) -> str:
    return "" if column.total is None else _write_number(column, column.total)


def _write_cells(columns: Sequence[PreviewColumn], row: Sequence[str]) -> Iterator[Cell]:
    """Write the cells of a row as the rest of Studio does, each with its text in the file."""
    for column, text in zip(columns, row, strict=False):
        try:
            yield Cell(_write_number(column, Decimal(text)) if column.look == "number" and text else text, text)
        except InvalidOperation:
            yield Cell(text, text)


def _write_number(column: PreviewColumn, value: Decimal) -> str:
    metric = Metric[column.header.upper()]
    return write_number(metric, value if metric.digits else int(value))
