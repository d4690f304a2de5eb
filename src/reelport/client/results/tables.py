"""Read a report as typed rows, Arrow, Polars, pandas or Parquet; show it in a notebook.

Only an empty cell is null: `NA` is a text. Columns that the catalog does not know are text.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from reelport.catalog import CellType
from reelport.cells import Cell, Column, describe_column, look_up_columns
from reelport.client.files.csv_checks import check_header, parse_names
from reelport.client.files.download_target import translate_io_errors
from reelport.client.files.locks import replace_whole
from reelport.client.results.typed_rows import count_rows, read_records, read_typed_rows
from reelport.errors import ReelportError, SchemaDrift, UsageError
from reelport.local_path import refuse_address
from reelport.wording import advise_extra, format_count

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa


_HEADER_BYTES = 1 << 16

# Largest file, in bytes, whose rows are counted for a notebook's view: takes a fraction of a second.
_SOON_COUNTED = 64 << 20


@dataclass(frozen=True, slots=True, repr=False)
class Table:
    """The rows of a report's file. Reads nothing before a method needs it.

    | catalog | rows | Arrow, Polars, Parquet | pandas |
    |---|---|---|---|
    | text | str | string | str |
    | month | str | string | datetime64 |
    | whole number | int | int64 | int64; Int64 where a cell is empty |
    | money, rate | Decimal | decimal128(38, the catalog's digits) | float64; `exact`: Decimal |
    | day | date | date32 | datetime64 |
    | hour, minute | datetime, UTC | timestamp("us", "UTC") | datetime64, UTC |

    If a vendor's numbers have more digits than the catalog says, they keep their digits, also in
    Arrow. Column names are in lower case; `header` has the file's own names.
    """

    path: Path
    columns: tuple[Column, ...]
    kept_by: object = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, path: str | os.PathLike[str], text: Collection[str] | str = (), *, kept_by: object = None) -> Table:
        """Open a report's CSV file as a table; `text` names a column or columns to keep as text.

        The table refers to `kept_by`, so that a temporary file lives as long as the table.
        """
        refuse_address(path, "A table is opened from a CSV file of this machine: download the report first.")
        path = Path(path)
        with translate_io_errors(path), path.open("rb") as file:
            header = check_header(file.readline(_HEADER_BYTES), None)
        if len(set(header)) < len(header):
            raise SchemaDrift(f"Two columns of {path} have one name: {', '.join(header)[:300]}.")
        return cls(path, look_up_columns(header), kept_by).as_text(*((text,) if isinstance(text, str) else text))

    def as_text(self, *names: str) -> Table:
        """Return the table with these columns as text, as the file has them."""
        left = {name.lower() for name in names}
        kinds = (Column(one.name, CellType.TEXT) if one.name in left else one for one in self.columns)
        return replace(self, columns=tuple(kinds))

    @property
    def header(self) -> tuple[str, ...]:
        """The columns' names as the file writes them."""
        with translate_io_errors(self.path), self.path.open("rb") as file:
            return parse_names(file.readline(_HEADER_BYTES))

    def __len__(self) -> int:
        """Count the rows: reads the file once, without parsing cells."""
        with translate_io_errors(self.path):
            return count_rows(self.path, len(self.columns))

    def __repr__(self) -> str:
        """Show columns with their types, the extent and the path, as Arrow does; reads no cell."""
        columns = "".join(f"\n{describe_column(column)}" for column in self.columns)
        try:
            rows = self._count_soon()
            counted = "many rows" if rows is None else format_count(rows, "row")
            extent = f"{counted} x {format_count(len(self.columns), 'column')}"
        except ReelportError:  # the file is gone or broken: whoever reads its rows is told
            extent = "rows can't be read"
        return f"Table({extent}, {str(self.path)!r}){columns}"

    def _count_soon(self) -> int | None:
        with translate_io_errors(self.path):
            soon = self.path.stat().st_size <= _SOON_COUNTED
        return len(self) if soon else None

    def _repr_html_(self) -> str:
        return render_table(self.columns, self.tuples(), self._count_soon)

    def rows(self) -> Iterator[dict[str, Cell]]:
        """Yield each row as a dict by column, one at a time, so that any file fits into memory."""
        names = [column.name for column in self.columns]
        for row in self.tuples():
            yield dict(zip(names, row, strict=True))

    def tuples(self) -> Iterator[tuple[Cell, ...]]:
        """Yield each row as a tuple, in column order. Raises SchemaDrift for another type."""
        with translate_io_errors(self.path):
            yield from read_typed_rows(self.path, self.columns)

    def arrow(self) -> pa.Table:
        """Read all rows into a pyarrow table (`reelport[arrow]`)."""
        _import_libraries("arrow", "pyarrow")
        from reelport.client.results import arrow  # noqa: PLC0415 - pyarrow is loaded when it is asked for

        with translate_io_errors(self.path):
            return arrow.read_table(self.path, self.columns)

    def polars(self) -> pl.DataFrame:
        """Read all rows into a Polars frame (`reelport[polars]`)."""
        _import_libraries("polars", "polars", "pyarrow")
        import polars  # noqa: ICN001, PLC0415 - loaded when it is asked for

        frame = polars.from_arrow(self.arrow())
        assert isinstance(frame, polars.DataFrame)  # noqa: S101 - a table makes a frame; told to the type checker
        return frame

    def pandas(self, *, exact: bool = False) -> pd.DataFrame:
        """Read all rows into a pandas frame of plain NumPy types (`reelport[pandas]`).

        Days, months, hours and minutes are datetime64, in UTC without a zone; counts are int64, or Int64 where
        a cell is empty; money and rates are float64, or Decimals with `exact`.
        """
        _import_libraries("pandas", "pandas", "pyarrow")
        from reelport.client.results import arrow  # noqa: PLC0415 - pandas is loaded when it is asked for

        return arrow.build_frame(self.arrow(), self.columns, exact=exact)

    def parquet(self, to: str | os.PathLike[str]) -> Path:
        """Write all rows into Parquet, whole or not at all, in bounded memory (extra `arrow`)."""
        _import_libraries("arrow", "pyarrow")
        from reelport.client.results import arrow  # noqa: PLC0415 - pyarrow is loaded when it is asked for

        refuse_address(to, "Parquet is written to this machine: name a file, and copy it on from there.")
        to = Path(to)
        with translate_io_errors(to):
            arrow.write_parquet(self.path, self.columns, to)
        return to

    def xlsx(self, to: str | os.PathLike[str]) -> Path:
        """Write all rows into an XLSX workbook, whole or not at all, in bounded memory.

        A number that a spreadsheet would round is written as text. Raises UsageError for more than 1,048,575 rows,
        before it writes anything.
        """
        from reelport.xlsx import write_xlsx  # noqa: PLC0415 - its library is loaded when it is asked for

        refuse_address(to, "A workbook is written to this machine: name a file, and copy it on from there.")
        to, rows = Path(to), len(self)
        with translate_io_errors(to), replace_whole(to) as part:
            write_xlsx(part, self.header, read_records(self.path), rows, self.columns)
        return to


def _import_libraries(extra: str, *libraries: str) -> None:
    for library in libraries:
        try:
            import_module(library)
        except ImportError as error:
            raise UsageError(f"This needs {library}, which is not installed: {advise_extra(extra)}") from error


SHOWN_ROWS = 20
_LONGEST = 200  # most characters of one cell to show

# These classes keep notebooks from typesetting text between dollar signs as mathematics.
_CLASS = "dataframe tex2jax_ignore mathjax_ignore"
_NUMBERS = {CellType.INTEGER, CellType.DECIMAL}

# Control characters, and those that change the direction of the text around them.
_STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def render_table(columns: Sequence[Column], rows: Iterable[Sequence[Cell]], count: Callable[[], int | None]) -> str:
    """Render a table's first rows and extent, or the error where they can't be read."""
    try:
        shown, more = list(islice(rows, SHOWN_ROWS)), _describe_extent(len(columns), count())
    except ReelportError as error:
        return f"<p>{_escape(error)}</p>"
    head = "".join(
        f"<th{_format_style(one)}>{_escape(one.name)}<br><small>{one.type.name.lower()}</small></th>" for one in columns
    )
    body = "".join(f"<tr>{''.join(map(_render_cell, columns, row))}</tr>" for row in shown)
    return (
        f'<div style="max-width:100%;overflow-x:auto"><table border="1" class="{_CLASS}">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p>{more}</p></div>"
    )


def _describe_extent(columns: int, rows: int | None) -> str:
    of = format_count(columns, "column")
    if rows is None:
        return f"The first {SHOWN_ROWS} rows of {of}. len(table) counts all rows."
    return f"{format_count(rows, 'row')} of {of}" + (f", the first {SHOWN_ROWS} shown" if rows > SHOWN_ROWS else "")


def _render_cell(column: Column, cell: Cell) -> str:
    return f"<td{_format_style(column, wraps=True)}>{'<i>null</i>' if cell is None else _escape(cell)}</td>"


def _format_style(column: Column, *, wraps: bool = False) -> str:
    flow = "max-width:40em;overflow-wrap:anywhere" if wraps and column.type is CellType.TEXT else "white-space:nowrap"
    return f' style="text-align:{"right" if column.type in _NUMBERS else "left"};{flow}"'


def _escape(value: object) -> str:
    """Escape a value as text, without control characters, shortened to 200 characters."""
    text = _STEERING.sub("\ufffd", str(value))
    return f"<bdi>{escape(text if len(text) <= _LONGEST else text[:_LONGEST] + '…')}</bdi>"
