"""Export what a page shows: its tables as CSV or XLSX, with exact numbers.

A table has the rows and the order of the page. Its columns are named as those of a report; beside a metric stand what
it was before (`_before`), its share of the total (`_share`) and by what part it changed (`_change`): 0.25 is 25 %.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from urllib.parse import urlencode

import anyio.to_thread
from starlette.responses import Response

from reelport.catalog import CellType, Dimension
from reelport.cells import Column, look_up_columns
from reelport.charts.time_axis import format_time
from reelport.engine.mapping import find_title_dimension
from reelport.engine.report_format import CSV, XLSX
from reelport.language import N_, _
from reelport.query import ReportQuery, name_file
from reelport.server.explore.numbers import Leaderboard, Lines, Number, Numbers, OverBudget
from reelport.server.explore.view import NONE, Comparison, Pairs, View
from reelport.server.http.downloads import format_attachment
from reelport.server.studio import pages, view_page
from reelport.server.studio.rights import Right
from reelport.server.studio.visit import Refused, Visit, not_found
from reelport.spreadsheet_guard import SpreadsheetGuard

CHOICE = "as"  # the field by which a menu says what is wanted
PROGRAMS = ("report", "curl", "python")  # what a part is asked for by, on the page that would ask for a report
LINES = "lines"  # the part of a page that has all metrics over time; a metric's name has it alone
TABLE_FORMS = {form.suffix.removeprefix("."): form for form in (CSV, XLSX)}
_SHARE_DIGITS = 6  # digits of shares and changes: a sheet holds them exactly
_Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A part of a page as a table: typed columns, and the texts of its cells."""

    columns: tuple[Column, ...]
    rows: tuple[_Row, ...]
    query: ReportQuery
    """What the file is named for: cells that the view keeps stand among its filters."""


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


def make_table(view: View, numbers: Numbers, *, can_change: bool) -> Table:
    """Make the table of a narrowed view: of its leaderboard, else of its lines.

    Without `can_change` a leaderboard tells no change, as on the page. Refused where there are no numbers.
    """
    part = numbers.leaderboards[view.dimensions[0]] if view.dimensions else numbers.lines
    match part:
        case OverBudget():
            raise Refused(409, N_("There is no table"), _("%(why)s Ask for it as a report.", why=part.sentence))
        case Leaderboard():
            compares = can_change and view.comparison is not Comparison.NONE
            columns = tuple(_list_board_columns(view, part.dimension, compares=compares))
            return Table(
                columns, tuple(_write_entries(view, part, compares=compares)), _name_query(view, part.dimension)
            )
        case _:
            columns, rows = tuple(_list_line_columns(view)), tuple(_write_times(view, part))
            return Table(columns, rows, _name_query(view, view.time))


async def answer_table(table: Table, form: str) -> Response:
    """Answer with a table as a file, named for what is in it."""
    content = await anyio.to_thread.run_sync(write_csv if form == "csv" else _write_workbook, table)
    disposition = format_attachment(name_file(table.query, form), f"table.{form}")
    headers = {**pages.HEADERS, "Content-Type": TABLE_FORMS[form].media_type, "Content-Disposition": disposition}
    return Response(content, headers=headers)


def _name_query(view: View, shown: Dimension) -> ReportQuery:
    filters = {filter_.name: value for filter_, value in view.filters}
    filters |= {dimension.name: "-".join(cells) for dimension, cells in view.kept_by_dimension().items()}
    return ReportQuery.of(view.metrics, (shown,), view.start, view.end, filters, view.product)


def _list_line_columns(view: View) -> Iterator[Column]:
    (column,) = look_up_columns([view.time.header])
    time = replace(column, name=view.grain.name.lower())  # a week is its first day
    yield time
    if view.compares_lines:
        yield replace(time, name=f"{time.name}_before")
    for metric in view.metrics:
        (column,) = look_up_columns([metric.header])
        yield column
        if view.compares_lines:
            yield replace(column, name=f"{column.name}_before")


def _write_times(view: View, lines: Lines) -> Iterator[_Row]:
    for point in lines:
        row = [format_time(point.day, view.grain)]
        if view.compares_lines:
            row.append(format_time(view.compared_time(point.day), view.grain))
        for figure in point.figures:
            row += [_write(figure.value), *([_write(figure.before)] if view.compares_lines else [])]
        yield tuple(row)


def _list_board_columns(view: View, dimension: Dimension, *, compares: bool) -> Iterator[Column]:
    title = find_title_dimension(dimension)
    yield from look_up_columns([dimension.header, *([title.header] if title else [])])
    for metric in view.metrics:
        (column,) = look_up_columns([metric.header])
        yield column
        if metric is view.ranked_by:
            yield Column(f"{column.name}_share", CellType.DECIMAL, _SHARE_DIGITS)
        if compares:
            yield replace(column, name=f"{column.name}_before")
            yield Column(f"{column.name}_change", CellType.DECIMAL, _SHARE_DIGITS)


def _write_entries(view: View, board: Leaderboard, *, compares: bool) -> Iterator[_Row]:
    has_title = find_title_dimension(board.dimension) is not None
    for entry in board.entries:
        row = [entry.cell or "", *([entry.title or ""] if has_title else [])]
        for metric, figure, share in zip(view.metrics, entry.figures, entry.shares, strict=True):
            row.append(_write(figure.value))
            if metric is view.ranked_by:
                row.append(_write_part(share))
            if compares:
                row += [_write(figure.before), _write_part(figure.change)]
        yield tuple(row)


def _write(value: Number) -> str:
    """Write a number in full; a Decimal's own text may have an exponent."""
    return "" if value is None else f"{value:f}" if isinstance(value, Decimal) else str(value)


def _write_part(part: Decimal | None) -> str:
    return "" if part is None else f"{part:.{_SHARE_DIGITS}f}"


def write_csv(table: Table) -> bytes:
    """Write a CSV that no spreadsheet runs anything of: it is for people."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column in table.columns])
    writer.writerows(table.rows)
    guard = SpreadsheetGuard()
    return guard.feed(text.getvalue().encode()) + guard.flush()


def _write_workbook(table: Table) -> bytes:
    from reelport.xlsx import write_xlsx  # noqa: PLC0415 - loads a library that few requests need

    content = io.BytesIO()
    write_xlsx(content, [column.name for column in table.columns], table.rows, len(table.rows), table.columns)
    return content.getvalue()
