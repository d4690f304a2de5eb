"""Write a report's rows as an XLSX workbook of one sheet that loses no digit.

A number or a day becomes one where a spreadsheet holds it exactly. Any other cell is the CSV's text, and no text is a
formula. The same rows give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from traceback import walk_tb
from typing import BinaryIO
from zipfile import ZipFile

from xlsxwriter import Workbook
from xlsxwriter.exceptions import FileCreateError, FileSizeError
from xlsxwriter.worksheet import Worksheet

from reelport.catalog import CellType
from reelport.cells import Cell, Column, find_parser, look_up_columns
from reelport.errors import UsageError
from reelport.wording import format_count

MOST_ROWS = (1 << 20) - 1
"""Rows below the header that a sheet can hold."""
_LONGEST = 32_767  # UTF-16 units of a cell's text
_DIGITS = 15  # significant digits of a number that every spreadsheet keeps
_EPOCH, _FIRST = datetime(1899, 12, 30), date(1900, 3, 1)  # noqa: DTZ001 - a sheet's times have no zone
"""Day 0, and the first day that all spreadsheets count alike: some have a 29 February 1900 before it."""
_ELSE = "Take --format csv or parquet, or ask for fewer days or dimensions."
_FORMATS = {
    CellType.DAY: "yyyy-mm-dd",
    CellType.MONTH: "yyyy-mm",
    CellType.HOUR: "yyyy-mm-dd hh:mm",
    CellType.MINUTE: "yyyy-mm-dd hh:mm",
    CellType.INTEGER: "#,##0",
}
_WIDTHS = {CellType.TEXT: 32, CellType.HOUR: 17, CellType.MINUTE: 17}


class _Sheet(Worksheet):  # type: ignore[misc]  # the library has no types
    def _xml_rich_inline_string(self, string: str, attributes: Sequence[tuple[str, object]] = ()) -> None:
        """Write a text that looks like the library's markup (`<r>…</r>`) as a text."""
        self._xml_inline_string(string, True, attributes)


def refuse_too_many_rows(rows: int, *, so_far: bool = False) -> None:
    """Raise UsageError for more rows than a sheet can hold."""
    if rows > MOST_ROWS:
        has = f"{format_count(rows, 'row')}{' so far' if so_far else ''}"
        raise UsageError(f"The report has {has}, and XLSX holds {MOST_ROWS:,}. {_ELSE}")


def write_xlsx(
    to: Path | BinaryIO,
    names: Sequence[str],
    rows: Iterable[Sequence[str | None]],
    count: int,
    columns: Sequence[Column] | None = None,
) -> None:
    """Write rows of a CSV, of which there are `count`, below a header of these column names.

    `columns` are theirs where they have other types than the catalog's.

    Holds one row in memory; parts of the file lie in the folder of `to` meanwhile. A month is its first day. Times are
    in UTC. Raises UsageError for what a sheet can't hold: too many rows, before anything is written, or a cell above
    32,767 characters. After an error, `to` is no whole file.
    """
    refuse_too_many_rows(count)
    with TemporaryDirectory(dir=to.parent if isinstance(to, Path) else None) as folder:
        try:
            with closing(Workbook(to, {"constant_memory": True, "tmpdir": folder})) as book:
                book.set_properties({"created": datetime(1980, 1, 1)})  # noqa: DTZ001 - else it is now
                _write_rows(book, names, columns or look_up_columns(names), rows)
        except FileSizeError:
            raise UsageError(f"The report is larger than XLSX can be. {_ELSE}") from None
        except FileCreateError as error:
            _abandon_file(error.args[0])
            raise error.args[0] from None


def _abandon_file(error: BaseException) -> None:
    """Close the file that the library leaves open after an error, and would write to once more."""
    for frame, _ in walk_tb(error.__traceback__):
        zip_file = frame.f_locals.get("xlsx_file")
        if isinstance(zip_file, ZipFile) and zip_file.fp is not None:
            with suppress(OSError):
                zip_file.fp.close()
            zip_file.fp = None


def _write_rows(
    book: Workbook, names: Sequence[str], columns: Sequence[Column], rows: Iterable[Sequence[str | None]]
) -> None:
    sheet = book.add_worksheet("report", _Sheet)
    sheet.freeze_panes(1, 0)
    bold = book.add_format({"bold": True})
    for at, (name, column) in enumerate(zip(names, columns, strict=True)):
        sheet.set_column(at, at, max(_WIDTHS.get(column.type, 12), len(name) + 2))
        sheet.write_string(0, at, name, bold)
    shown = [f"#,##0.{'0' * each.digits}" if each.digits else _FORMATS.get(each.type, "General") for each in columns]
    formats = [book.add_format({"num_format": each}) for each in shown]
    converts = [_find_converter(column.type) for column in columns]
    for number, row in enumerate(rows, start=1):
        refuse_too_many_rows(number)
        for at, text in enumerate(row):
            if not text:
                continue
            value = converts[at](text)
            if value is not None:
                sheet.write_number(number, at, value, formats[at])
            elif sheet.write_string(number, at, text):
                raise UsageError(
                    f"Row {number:,}, column {names[at]}: the text is longer than the {_LONGEST:,} characters that "
                    "XLSX holds. Take --format csv or parquet."
                )


def _find_converter(kind: CellType) -> Callable[[str], float | None]:
    """Return what makes a text a sheet's number, or None where the text keeps more."""
    parse = find_parser(CellType.DAY if kind is CellType.MONTH else kind)
    if kind in {CellType.INTEGER, CellType.DECIMAL}:
        return lambda text: _convert_number(text, parse)
    if kind is CellType.TEXT:
        return lambda _: None
    suffix = "-01" if kind is CellType.MONTH else ""

    @lru_cache(4096)
    def convert_time(text: str) -> float | None:
        try:
            moment = parse(text + suffix)
        except (ValueError, OverflowError):
            return None
        return _count_days(moment)

    return convert_time


def _convert_number(text: str, parse: Callable[[str], Cell]) -> float | None:
    try:
        value = parse(text)
        if not isinstance(value, int | Decimal):
            return None
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if Decimal(f"{number:.{_DIGITS}g}") == value else None


def _count_days(moment: Cell) -> float | None:
    if isinstance(moment, datetime):
        days = (moment.replace(tzinfo=None) - _EPOCH) / timedelta(days=1)
        return days if moment.date() >= _FIRST else None
    if isinstance(moment, date):
        return (moment - _EPOCH.date()).days if moment >= _FIRST else None
    return None
