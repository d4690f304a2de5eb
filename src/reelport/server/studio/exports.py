"""Export what a page shows: its tables as CSV or XLSX, with exact numbers.

A table has the rows and the order of the page. Its columns are named as those of a report. Beside a code stands its
name (`_name`); beside a metric what it was before (`_before`), its share of the total (`_share`) and by what part it
changed (`_change`): 0.25 is 25 %.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from urllib.parse import urlencode

import anyio.to_thread
from starlette.responses import Response

from reelport.catalog import CellType, Metric
from reelport.cells import Column, look_up_columns
from reelport.charts.time_axis import format_time
from reelport.engine.mapping import find_title_dimension
from reelport.engine.report_format import CSV, XLSX
from reelport.language import N_, _
from reelport.query import ReportQuery
from reelport.server.explore.numbers import Figure, Leaderboard, Lines, Number, OverBudget
from reelport.server.explore.view import NONE, Pairs, View, name_cell
from reelport.server.explore.view_days import Comparison
from reelport.server.files.file_names import name_file
from reelport.server.http.downloads import format_attachment
from reelport.server.studio import pages, view_page
from reelport.server.studio.rights import Right
from reelport.server.studio.view_page import Page
from reelport.server.studio.visit import Refused, Visit, not_found
from reelport.spreadsheet_guard import SpreadsheetGuard

CHOICE = "as"  # the field by which a menu says what is wanted
PROGRAMS = ("report", "curl", "python")  # what a part is asked for by, on the page that would ask for a report
LINES = "lines"  # the part of a page that has all metrics over time; a metric's name has it alone
TABLE_FORMS = {form.suffix.removeprefix("."): form for form in (CSV, XLSX)}
_SHARE_DIGITS = 6  # digits of shares and changes: a sheet holds them exactly
Columns = list[tuple[Column, list[str]]]
"""A part of a page as a table: its columns, each with the texts of its cells."""


@dataclass(frozen=True, slots=True)
class Exports:
    """Where the menus of a view lead: the address and fields of the form that they send.

    `charts` are the kinds of files that its charts are offered as. `form` is the id of the form: a page of several
    views has several.
    """

    address: str
    fields: Pairs = ()
    charts: tuple[str, ...] = ()
    may_ask: bool = False
    form: str = "export"


def offer_exports(visit: Visit, view: View, form: str = "export") -> Exports | None:
    """Offer the exports of a view to whoever may download its numbers."""
    if not visit.may(Right.DOWNLOAD):
        return None
    may_ask = visit.may(Right.ASK_FOR_REPORTS)
    return Exports(f"{pages.ROOT}/explore/export", view.params(), view_page.list_kinds(), may_ask, form)


def read_choice(visit: Visit) -> tuple[str, str]:
    """Read which part of a page is wanted, and as what: `VIDEO_ID.csv`."""
    part, _dot, form = visit.request.query_params.get(CHOICE, "").partition(".")
    return part, form


def write_report_address(view: View, part: str, form: str) -> str:
    """Write the address of the form that asks for a part, with its titles, as a report."""
    narrowed = narrow_view(view, part)
    shown = narrowed.dimensions[0] if narrowed.dimensions else view.time
    names = [row.name for row in (shown, find_title_dimension(shown), *narrowed.metrics) if row]
    pairs = [*view.params(), *(("column", name) for name in (NONE, *names))]
    return f"{pages.ROOT}/reports/new?{urlencode(pairs)}{'' if form == 'report' else f'#{form}'}"


def narrow_view(view: View, part: str) -> View:
    """Narrow a view to what a part of its page needs; Refused where it has no such part."""
    plain = replace(view, dimensions=(), longer=None)
    if part == LINES:
        return plain
    for metric in view.metrics:
        if metric.name == part:
            return replace(plain, metrics=(metric,), ranked_by=metric)
    for dimension in view.dimensions:
        if dimension.name == part:
            return replace(view, dimensions=(dimension,))
    raise not_found()


async def answer_table(page: Page, form: str) -> Response:
    """Answer with the table of a narrowed view as a file.

    It is that of its leaderboard, else of its lines. A leaderboard tells a change where the page does. Refused where
    there are no numbers.
    """
    view, numbers = page.view, page.numbers
    part = numbers.leaderboards[view.dimensions[0]] if view.dimensions else numbers.lines
    match part:
        case OverBudget():
            raise Refused(409, N_("There is no table"), _("%(why)s Ask for it as a report.", why=part.sentence))
        case Leaderboard():
            compares = not page.unknown and view.comparison is not Comparison.NONE
            shown, columns = part.dimension, _tabulate_board(view, part, compares=compares)
        case _:
            shown, columns = view.time, _tabulate_lines(view, part)
    content = await anyio.to_thread.run_sync(write_csv if form == "csv" else _write_workbook, columns)
    filters = {filter_.name: value for filter_, value in view.filters}
    filters |= {dimension.name: "-".join(cells) for dimension, cells in view.kept_by_dimension().items()}
    query = ReportQuery.of(view.metrics, (shown,), view.start, view.end, filters, view.product)
    disposition = format_attachment(name_file(query, form), f"table.{form}")
    headers = {**pages.HEADERS, "Content-Type": TABLE_FORMS[form].media_type, "Content-Disposition": disposition}
    return Response(content, headers=headers)


def _tabulate_lines(view: View, lines: Lines) -> Columns:
    days = [point.day for point in lines]
    (time,) = look_up_columns([view.time.header])
    time = replace(time, name=view.grain.name.lower())  # a week is its first day
    columns = [(time, [format_time(day, view.grain) for day in days])]
    if view.compares_lines:
        before = [format_time(view.compared_time(day), view.grain) for day in days]
        columns.append((replace(time, name=f"{time.name}_before"), before))
    for place, metric in enumerate(view.metrics):
        figures = [point.figures[place] for point in lines]
        columns += _tabulate_figures(metric, figures, compares=view.compares_lines)
    return columns


def _tabulate_board(view: View, board: Leaderboard, *, compares: bool) -> Columns:
    title = find_title_dimension(board.dimension)
    (column,) = look_up_columns([board.dimension.header])
    columns = [(column, [entry.cell or "" for entry in board.entries])]
    names = [name_cell(board.dimension, entry.cell) for entry in board.entries]
    if any(entry.cell and entry.cell != name for entry, name in zip(board.entries, names, strict=True)):
        columns.append((replace(column, name=f"{column.name}_name"), names))
    if title:
        (column,) = look_up_columns([title.header])
        columns.append((column, [entry.title or "" for entry in board.entries]))
    for place, metric in enumerate(view.metrics):
        figures = [entry.figures[place] for entry in board.entries]
        shares = [entry.shares[place] for entry in board.entries] if metric is view.ranked_by else None
        columns += _tabulate_figures(metric, figures, shares, compares=compares)
        if compares:
            columns.append(_tabulate_parts(f"{metric.header}_change", [each.change for each in figures]))
    return columns


def _tabulate_figures(
    metric: Metric, figures: Sequence[Figure], shares: Sequence[Decimal | None] | None = None, *, compares: bool
) -> Columns:
    (column,) = look_up_columns([metric.header])
    columns = [(column, [_write(each.value) for each in figures])]
    if shares is not None:
        columns.append(_tabulate_parts(f"{metric.header}_share", shares))
    if compares:
        columns.append((replace(column, name=f"{column.name}_before"), [_write(each.before) for each in figures]))
    return columns


def _tabulate_parts(name: str, parts: Iterable[Decimal | None]) -> tuple[Column, list[str]]:
    texts = ["" if part is None else f"{part:.{_SHARE_DIGITS}f}" for part in parts]
    return Column(name, CellType.DECIMAL, _SHARE_DIGITS), texts


def _write(value: Number) -> str:
    """Write a number in full; a Decimal's own text may have an exponent."""
    return "" if value is None else f"{value:f}" if isinstance(value, Decimal) else str(value)


def write_csv(columns: Columns) -> bytes:
    """Write a CSV that no spreadsheet runs anything of: it is for people."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column, _cells in columns])
    writer.writerows(zip(*(cells for _column, cells in columns), strict=True))
    guard = SpreadsheetGuard()
    return guard.feed(text.getvalue().encode()) + guard.flush()


def _write_workbook(columns: Columns) -> bytes:
    from reelport.xlsx import write_xlsx  # noqa: PLC0415 - loads a library that few requests need

    content, kinds = io.BytesIO(), [column for column, _cells in columns]
    rows = list(zip(*(cells for _column, cells in columns), strict=True))
    write_xlsx(content, [column.name for column in kinds], rows, len(rows), kinds)
    return content.getvalue()
