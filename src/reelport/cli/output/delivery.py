"""Where a report goes: the file or stdout, its format, and how it is written there."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from reelport.cli.arguments.options import format_flags
from reelport.cli.output.listing import CleanedOutput, format_moment
from reelport.client.files.download_target import resolve_csv_target, resolve_target, translate_io_errors
from reelport.client.files.locks import replace_whole
from reelport.client.files.sidecar import find_sidecar_path, read_sidecar
from reelport.errors import SchemaDrift, StorageError, UsageError
from reelport.wording import advise_extra

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

    from reelport.cells import Cell
    from reelport.client.events import Event, Progress
    from reelport.client.flows.download import Downloaded
    from reelport.client.results.tables import Table


class Format(StrEnum):
    """Output formats of rows."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    NDJSON = "ndjson"
    PARQUET = "parquet"
    XLSX = "xlsx"


_SUFFIXES = {
    ".csv": Format.CSV,
    ".json": Format.JSON,
    ".ndjson": Format.NDJSON,
    ".jsonl": Format.NDJSON,
    ".parquet": Format.PARQUET,
    ".pq": Format.PARQUET,
    ".xlsx": Format.XLSX,
}

_CALLED = {
    Format.TABLE: "a table",
    Format.CSV: "a CSV",
    Format.JSON: "JSON",
    Format.NDJSON: "NDJSON",
    Format.PARQUET: "Parquet",
    Format.XLSX: "a workbook",
}

_BINARY = frozenset({Format.PARQUET, Format.XLSX})  # nothing for a terminal, and written as a file first

# What counts as a file extension that names a format; the `.10` of `views.2026.10` doesn't.
_EXTENSION = re.compile(r"\.[a-z][a-z0-9]{0,9}")


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Where a report is written, and in which format."""

    output: Annotated[
        str | None, Parameter(["--output", "-o"], help="The file to write; without it the data goes to stdout.")
    ] = None
    form: Annotated[
        Format | None,
        Parameter(
            "--format", help="The format; otherwise by the file's name; otherwise table on a terminal, csv in a pipe."
        ),
    ] = None
    excel_safe: Annotated[
        bool,
        Parameter(
            help="Make a CSV that is safe in spreadsheets: an apostrophe before each cell that looks like a formula."
        ),
    ] = False

    def shape(self) -> Format:
        """Return the format to write. UsageError: it isn't there, or the file can't be written."""
        if self.output == "-":
            raise UsageError("'-' is no file: without -o the data goes to stdout.")
        shape = format_of(self.form, self.output, excel_safe=self.excel_safe)
        if self.output is not None:
            self._refuse_misnamed(shape)
            (resolve_csv_target if shape is Format.CSV else resolve_target)(self.output)
        return shape

    def _refuse_misnamed(self, shape: Format) -> None:
        name = Path(self.output or "").name
        suffix = Path(name).suffix.lower()
        if _SUFFIXES.get(suffix, shape) is shape and suffix != ".xls":
            return
        right = f"name it {next((end for end, form in _SUFFIXES.items() if form is shape), '.txt')}"
        if suffix in _SUFFIXES:
            right += f", or leave out --format {shape.value}"
        elif shape is Format.CSV:
            right += ", which spreadsheets open"
        raise UsageError(f"--output: {name} would hold {_CALLED[shape]}: {right}.")

    def words(self) -> list[str]:
        """Format these options as words of a command line."""
        return format_flags({"-o": self.output, "--format": self.form, "--excel-safe": self.excel_safe})


AS_IT_CAME = Delivery()


def format_of(wished: Format | None, output: str | None, *, excel_safe: bool = False) -> Format:
    """Choose the output format. Raises UsageError, before any request, for an unavailable one."""
    suffix = Path(output).suffix.lower() if output else ""
    if wished is None and suffix not in _SUFFIXES and _EXTENSION.fullmatch(suffix):
        known = ", ".join(_SUFFIXES)
        other = "" if suffix == ".xls" else ", or say which --format it has"
        raise UsageError(f"--output: no report is written as {suffix}: name a file {known}{other}.")
    if output is None and sys.__stdout__ is None:
        raise UsageError("stdout is closed: give -o FILE.")
    looked_at = output is None and sys.stdout.isatty() and not excel_safe
    form = wished or _SUFFIXES.get(suffix, Format.TABLE if looked_at else Format.CSV)
    if excel_safe and form is not Format.CSV:
        raise UsageError(f"--excel-safe changes cells of a CSV alone: leave it out with {form.value}.")
    if form in _BINARY and output is None and sys.stdout.isatty():
        raise UsageError(f"--format {form.value} is nothing for a terminal: give -o FILE, or send it into a pipe.")
    if form is Format.PARQUET and find_spec("pyarrow") is None:
        raise UsageError(f"--format parquet needs pyarrow, which is not installed: {advise_extra('arrow')}")
    return form


def refuse_early(to: Delivery, tell: Progress) -> Progress:
    """Return a listener that refuses a report once it outgrows its format."""
    if format_of(to.form, to.output, excel_safe=to.excel_safe) is not Format.XLSX:
        return tell
    from reelport.client.events import Looked
    from reelport.xlsx import refuse_too_many_rows

    def listen(event: Event) -> None:
        tell(event)
        if isinstance(event, Looked) and event.details is not None and event.details.rows is not None:
            refuse_too_many_rows(event.details.rows, so_far=not event.details.state.is_final)

    return listen


_FLUSHED = 1 << 20


def write_report(done: Downloaded, to: Delivery) -> dict[str, object]:
    """Write a downloaded CSV as wanted: to stdout, or into the file, whole or not at all.

    Returns facts for the closing message: with `--excel-safe`, how many cells were changed.
    """
    form = to.shape()
    try:
        return _write_file(done, to, form)
    except SchemaDrift as error:
        what = str(error).partition(" To have the column")[0]
        if to.form is None and form is Format.TABLE:
            return _write_file(done, to, Format.CSV) | {"note": f"no table can be made of it. {what}"}
        raise SchemaDrift(f"{what} --format csv gives the report as it is.") from error


def _write_file(done: Downloaded, to: Delivery, form: Format) -> dict[str, object]:
    cells = 0
    if to.output is None:
        cells = _to_stdout(done, form, excel_safe=to.excel_safe)
    elif to.excel_safe or form is not Format.CSV:
        target = resolve_target(to.output)
        if form in _BINARY:
            _write_table(done.table(), form, target)
        else:
            with translate_io_errors(target), replace_whole(target) as part, part.open("xb") as file:
                cells = _write_rows(done, form, file, excel_safe=to.excel_safe)
        safe = {"excel_safe": True, "changed_cells": cells} if to.excel_safe else {}
        _copy_sidecar(target, done, {"form": form.value, **safe})
    return {"changed_cells": cells} if to.excel_safe else {}


def _copy_sidecar(target: Path, done: Downloaded, made: dict[str, object]) -> None:
    place, known = find_sidecar_path(target), done.sidecar and read_sidecar(done.sidecar)
    if place is None or not known:
        return
    with translate_io_errors(target), target.open("rb") as file:
        own = {"bytes": target.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    facts = known | own | made | {"csv": {name: known.get(name) for name in own}}
    with translate_io_errors(place), replace_whole(place) as part, part.open("xb") as sidecar:
        sidecar.write(json.dumps(facts, indent=2, ensure_ascii=False).encode() + b"\n")


def format_json_lines(table: Table) -> Iterator[str]:
    """Format rows as JSON objects: numbers with all digits, an empty cell as null."""
    names = [json.dumps(column.name, ensure_ascii=False) for column in table.columns]
    encode = _encode
    for row in table.tuples():
        yield "{" + ", ".join([f"{name}: {encode(cell)}" for name, cell in zip(names, row, strict=True)]) + "}"


def _to_stdout(done: Downloaded, form: Format, *, excel_safe: bool) -> int:
    cells = 0
    try:
        if form is Format.TABLE:
            from rich.console import Console

            from reelport.cli.output.table_view import print_table

            print_table(Console(highlight=False), done.table(), done.rows)
        elif sys.stdout.isatty():
            cleaned = CleanedOutput(sys.stdout.buffer)
            cells = _write_rows(done, form, cleaned, excel_safe=excel_safe)
            cleaned.finish()
        else:
            cells = _write_rows(done, form, sys.stdout.buffer, excel_safe=excel_safe)
        sys.stdout.flush()
    except BrokenPipeError:
        raise  # The reader has closed the pipe; the command line handles this.
    except OSError as error:
        raise StorageError(f"stdout takes no more: {error.strerror or error}.") from error
    return cells


def _write_rows(done: Downloaded, form: Format, file: SupportsWrite[bytes], *, excel_safe: bool) -> int:
    report = done.path
    if form is Format.CSV:
        return _write_guarded(report, file) if excel_safe else _copy(report, file)
    table = done.table()
    match form:
        case Format.JSON:
            for text in _json_array(table):
                file.write(text.encode())
        case Format.NDJSON:
            for line in format_json_lines(table):
                file.write(f"{line}\n".encode())
        case Format.PARQUET | Format.XLSX:
            _copy(_write_table(table, form, report.with_suffix(f".{form.value}")), file)
        case Format.TABLE:
            from rich.console import Console

            from reelport.cli.output.table_view import print_table

            drawn = StringIO()
            print_table(Console(file=drawn, color_system=None, highlight=False), table, done.rows)
            file.write(drawn.getvalue().encode())
    return 0


def _write_table(table: Table, form: Format, to: Path) -> Path:
    return table.xlsx(to) if form is Format.XLSX else table.parquet(to)


def _write_guarded(report: Path, to: SupportsWrite[bytes]) -> int:
    """Write a CSV so that no cell begins a formula; return how many cells were changed."""
    from reelport.spreadsheet_guard import SpreadsheetGuard

    guard = SpreadsheetGuard()
    with report.open("rb") as file:
        while data := file.read(_FLUSHED):
            to.write(guard.feed(data))
    to.write(guard.flush())
    return guard.changed


def _json_array(table: Table) -> Iterator[str]:
    before = "[\n"
    for line in format_json_lines(table):
        yield f"{before}{line}"
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def _copy(path: Path, file: SupportsWrite[bytes]) -> int:
    with path.open("rb") as source:
        shutil.copyfileobj(source, file, _FLUSHED)
    return 0


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
            return f'"{format_moment(cell)}"'
        case date():
            return f'"{cell.isoformat()}"'


_quoted: Callable[[str], str] = json.JSONEncoder(ensure_ascii=False).encode
