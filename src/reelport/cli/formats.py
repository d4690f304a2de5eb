"""The forms that a command gives rows in: a table to look at, CSV, JSON, NDJSON, Parquet; to stdout or into a file."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from importlib.util import find_spec
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Annotated, BinaryIO

from cyclopts import Parameter
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as Drawn
from rich.text import Text

from reelport.catalog import CellType
from reelport.cli.output import plain
from reelport.client.part import checked_target, storage
from reelport.client.tables import Cell, Column, Table
from reelport.errors import StorageError, UsageError

_SHOWN = 100
"""Rows that a table shows: it is for eyes, and says what it leaves out."""

_WIDE = 100_000
"""Columns of text where there is no terminal to fit into."""

_LEAST = 12
"""Columns of text that a longer text gets at least, be the terminal too narrow."""

_FLUSHED = 1 << 20


class Format(StrEnum):
    """How rows are given."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    NDJSON = "ndjson"
    PARQUET = "parquet"


_SUFFIXES = {
    ".csv": Format.CSV,
    ".json": Format.JSON,
    ".ndjson": Format.NDJSON,
    ".jsonl": Format.NDJSON,
    ".parquet": Format.PARQUET,
}

Wished = Annotated[
    Format | None,
    Parameter("--format", help="The form of the data; otherwise what the name of the file says, otherwise csv."),
]


def format_of(wished: Format | None, output: str | None) -> Format:
    """The form that is meant. Raises UsageError where it can't be had, before anything is asked for."""
    form = wished or _SUFFIXES.get(Path(output).suffix.lower() if output else "", Format.CSV)
    if form is Format.PARQUET:
        if output is None and sys.stdout.isatty():
            raise UsageError("--format parquet is nothing for a terminal: give -o FILE, or send it into a pipe.")
        if find_spec("pyarrow") is None:
            raise UsageError("--format parquet needs pyarrow, which is not installed: pip install 'reelport[arrow]'")
    return form


def give(report: Path, output: str | None, form: Format) -> None:
    """Give a downloaded CSV in a form: into its file, whole or not at all, or to stdout."""
    if output is None:
        _to_stdout(report, form)
    elif form is Format.PARQUET:
        Table.of(report).parquet(checked_target(output))
    elif form is not Format.CSV:
        with _replaced(checked_target(output)) as file:
            _write(report, form, file)


def lines(table: Table) -> Iterator[str]:
    """Each row as a JSON object. Money and rates are numbers with all their digits; an empty cell is null."""
    names = [json.dumps(column.name, ensure_ascii=False) for column in table.columns]
    encode = _encode
    for row in table.tuples():
        yield "{" + ", ".join([f"{name}: {encode(cell)}" for name, cell in zip(names, row, strict=True)]) + "}"


def drawn(table: Table) -> tuple[Drawn, int]:
    """The first rows as a table for eyes, and the least columns of text that it takes.

    Long texts are cut short, numbers and days never.
    """
    shape = Drawn(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    shown = [tuple(_shown(cell) for cell in row) for row in islice(table.tuples(), _SHOWN)]
    least = 3 * len(table.columns)
    for place, column in enumerate(table.columns):
        title = column.name.replace("_", " ")
        whole = max(map(cell_len, (*title.split(), *(row[place] for row in shown))))
        fixed = None if column.type is CellType.TEXT else whole
        shape.add_column(title, justify="right" if _is_number(column) else "left", width=fixed, overflow="fold")
        least += fixed or min(whole, _LEAST)
    for row in shown:
        shape.add_row(*(_fitted(cell, column) for cell, column in zip(row, table.columns, strict=True)))
    return shape, least


def _fitted(cell: str, column: Column) -> Text:
    return Text(cell, no_wrap=True, overflow="ellipsis") if column.type is CellType.TEXT else Text(cell)


def _to_stdout(report: Path, form: Format) -> None:
    try:
        if form is Format.TABLE:
            _show(Console(highlight=False), report)
        else:
            _write(report, form, sys.stdout.buffer)
        sys.stdout.flush()
    except BrokenPipeError:
        raise  # Whoever reads has enough; the command line knows what to do.
    except OSError as error:
        raise StorageError(f"stdout takes no more: {error.strerror or error}.") from error


def _write(report: Path, form: Format, file: BinaryIO) -> None:
    match form:
        case Format.CSV:
            _copy(report, file)
        case Format.JSON:
            _pour(_array(Table.of(report)), file)
        case Format.NDJSON:
            _pour((f"{line}\n" for line in lines(Table.of(report))), file)
        case Format.PARQUET:
            _copy(Table.of(report).parquet(report.with_suffix(".parquet")), file)
        case Format.TABLE:
            text = StringIO()
            _show(Console(file=text, color_system=None, highlight=False), report)
            file.write(text.getvalue().encode())


def _show(console: Console, report: Path) -> None:
    table = Table.of(report)
    rows = sum(1 for _ in table.tuples())
    shape, least = drawn(table)
    console.width = max(console.width, least) if console.is_terminal else _WIDE
    console.print(shape, crop=False)
    if rows > _SHOWN:
        console.print(f"The first {_SHOWN} of {rows:,} rows; --format csv gives them all.")


def _array(table: Table) -> Iterator[str]:
    before = "[\n"
    for line in lines(table):
        yield f"{before}{line}"
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def _pour(texts: Iterator[str], file: BinaryIO) -> None:
    """Write texts, many at a time."""
    held: list[str] = []
    size = 0
    for text in texts:
        held.append(text)
        size += len(text)
        if size > _FLUSHED:
            file.write("".join(held).encode())
            held, size = [], 0
    file.write("".join(held).encode())


def _copy(path: Path, file: BinaryIO) -> None:
    with path.open("rb") as source:
        shutil.copyfileobj(source, file, _FLUSHED)


@contextmanager
def _replaced(target: Path) -> Iterator[BinaryIO]:
    """A file that takes the target's name at the end of the `with`, and is gone when that ends in an error."""
    part = target.with_name(f"{target.name}.{secrets.token_hex(4)}.part")
    try:
        with storage(target), part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with storage(target):
            part.replace(target)
    finally:
        with suppress(OSError):
            part.unlink()


def _encode(cell: Cell) -> str:
    match cell:
        case None:
            return "null"
        case str():
            return _quoted(cell)
        case int():
            return str(cell)
        case Decimal():
            return format(cell, "f")
        case datetime():
            return f'"{_moment(cell)}"'
        case date():
            return f'"{cell.isoformat()}"'


_quoted: Callable[[str], str] = json.JSONEncoder(ensure_ascii=False).encode


def _shown(cell: Cell) -> str:
    match cell:
        case None:
            return ""
        case str():
            return plain(cell)
        case int() | Decimal():
            return f"{cell:,}"
        case datetime():
            return _moment(cell)
        case date():
            return cell.isoformat()


def _moment(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _is_number(column: Column) -> bool:
    return column.type in {CellType.INTEGER, CellType.DECIMAL}
