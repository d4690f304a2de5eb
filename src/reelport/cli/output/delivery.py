"""Output options of a command: the file or stdout, and the format."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from reelport.errors import UsageError
from reelport.wording import advise_extra


class Format(StrEnum):
    """Output formats of rows."""

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
    ".pq": Format.PARQUET,
}

_WORKBOOKS = frozenset({".xls", ".xlsx"})
"""File extensions of formats that we can't write."""

_EXTENSION = re.compile(r"\.[a-z][a-z0-9]{0,9}")
"""What counts as a file extension that names a format; the `.10` of `views.2026.10` doesn't."""


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
            "--format",
            help="The form of the data; otherwise what the file's name says, otherwise table on a terminal, else csv.",
        ),
    ] = None
    excel_safe: Annotated[
        bool,
        Parameter(
            negative=(),
            help="Make a CSV for spreadsheets: a mark of UTF-8 in front, an apostrophe before each cell that they "
            "would take for a formula.",
        ),
    ] = False

    @property
    def is_unchanged_csv(self) -> bool:
        """Whether the output is the CSV as it was downloaded, byte for byte."""
        return self.form in {None, Format.CSV} and not self.excel_safe

    def shape(self) -> Format:
        """Return the format to write. UsageError: it isn't there, or the file can't be written."""
        from reelport.client.files.part import resolve_csv_target, resolve_target

        if self.output == "-":
            raise UsageError("'-' is no file: without -o the data goes to stdout.")
        shape = format_of(self.form, self.output, excel_safe=self.excel_safe)
        if self.output is not None:
            self._refuse_misnamed_csv(shape)
            (resolve_csv_target if shape is Format.CSV else resolve_target)(self.output)
        return shape

    def _refuse_misnamed_csv(self, shape: Format) -> None:
        """Raise UsageError for a CSV in a file whose name promises something else."""
        name = Path(self.output or "").name
        suffix = Path(name).suffix.lower()
        if shape is Format.CSV and suffix in {*_SUFFIXES, *_WORKBOOKS} - {".csv"}:
            other = ", or leave out --format csv" if suffix in _SUFFIXES else ", which spreadsheets open"
            raise UsageError(f"--output: {name} would hold a CSV: name it .csv{other}.")

    def words(self) -> list[str]:
        """Format these options as words of a command line."""
        given = {"-o": self.output, "--format": self.form and self.form.value}
        words = [word for option, value in given.items() if value is not None for word in (option, value)]
        return words + (["--excel-safe"] if self.excel_safe else [])


AS_IT_CAME = Delivery()


def format_of(wished: Format | None, output: str | None, *, excel_safe: bool = False) -> Format:
    """Choose the output format. Raises UsageError, before any request, for an unavailable one."""
    suffix = Path(output).suffix.lower() if output else ""
    if wished is None and suffix not in _SUFFIXES and _EXTENSION.fullmatch(suffix):
        known = ", ".join(_SUFFIXES)
        other = "" if suffix in _WORKBOOKS else ", or say which --format it has"
        raise UsageError(f"--output: no report is written as {suffix}: name a file {known}{other}.")
    if output is None and sys.__stdout__ is None:
        raise UsageError("stdout is closed: give -o FILE.")
    looked_at = output is None and sys.stdout.isatty() and not excel_safe
    form = wished or _SUFFIXES.get(suffix, Format.TABLE if looked_at else Format.CSV)
    if excel_safe and form is not Format.CSV:
        raise UsageError(f"--excel-safe changes cells of a CSV alone: leave it out with {form.value}.")
    if form is Format.PARQUET:
        if output is None and sys.stdout.isatty():
            raise UsageError("--format parquet is nothing for a terminal: give -o FILE, or send it into a pipe.")
        if find_spec("pyarrow") is None:
            raise UsageError(f"--format parquet needs pyarrow, which is not installed: {advise_extra('arrow')}")
    return form
