"""Staging: load a window's CSV into a table of texts, to check it beforehand."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from reelport.client.files.part import translate_io_errors
from reelport.client.files.shape import parse_columns
from reelport.client.ranges.windows import Window
from reelport.errors import SchemaDrift, ServiceError, StorageError, UsageError
from reelport.sql_quoting import quote_name, quote_text
from reelport.sync.columns import Field, digits_sql, fits_sql, is_number_sql, whole_digits_sql
from reelport.sync.days import Days
from reelport.wording import advise_extra

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

STAGE = "temp.main.stage"
_HEADER_BYTES = 1 << 16
_ON_FULL_DISK = "The disk is full: make room, and run the same again. "

# DuckDB must guess nothing: a folder named `views=9` is no column of the files in it.
_CSV = (
    "auto_detect = false, header = true, delim = ',', quote = '\"', escape = '\"', nullstr = '', "
    "hive_partitioning = false, max_line_size = 16777216"
)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A downloaded report: window, file, token; when (UTC) and where it was asked for.

    `last_complete_day` is that of the facts behind the report; None where the service doesn't tell.
    """

    window: Window
    file: Path
    token: str
    asked: datetime
    service: str
    last_complete_day: date | None = None

    @property
    def days(self) -> Days:
        """The days of its window."""
        return Days.of_window(self.window)


@dataclass(frozen=True, slots=True)
class Misfit:
    """Values that misfit their field's type: how many, one, if all are numbers, how long."""

    field: Field
    count: int
    example: str
    numbers: bool
    whole: int
    digits: int

    @property
    def wider(self) -> Field | None:
        """The field with room for these values.

        None where they are no numbers, or too long for any.
        """
        return self.field.widen(self.whole, self.digits) if self.numbers and self.field.is_number else None

    def __str__(self) -> str:
        return f"{self.count:,} values of {self.field.name} are no {self.field.type}, such as {self.example[:40]!r}"


@dataclass(frozen=True, slots=True)
class Stage:
    """A report in the table `STAGE`, each cell a text; only an empty cell is NULL."""

    con: DuckDBPyConnection
    columns: tuple[str, ...]

    def misfits(self, fields: tuple[Field, ...]) -> tuple[Misfit, ...]:
        """Find the values of the report that don't fit into these fields."""
        typed = [field for field in fields if field.name in self.columns and fits_sql(field) != "true"]
        if not typed:
            return ()
        sums = ", ".join(_misfit_sql(field) for field in typed)
        row = self.con.execute(f"SELECT {sums} FROM {STAGE}").fetchone() or ()  # noqa: S608 - names are quoted
        found = [Misfit(field, *row[5 * i : 5 * i + 5]) for i, field in enumerate(typed)]
        return tuple(misfit for misfit in found if misfit.count)

    def count(self, condition: str = "true") -> int:
        """Count the rows for which the SQL condition holds."""
        return count_rows(self.con, STAGE, condition)


@contextmanager
def open_duckdb(spill: Path) -> Iterator[DuckDBPyConnection]:
    """Open a DuckDB in memory, in UTC, that spills into a folder. UsageError without DuckDB."""
    try:
        import duckdb  # noqa: PLC0415 - heavy, and only a sync needs it
    except ImportError as error:
        raise UsageError(f"A sync needs duckdb, which is not installed: {advise_extra('duckdb')}") from error
    con = duckdb.connect(config={"temp_directory": str(spill), "threads": 2})
    try:
        con.execute("SET TimeZone = 'UTC'")
        yield con
    except duckdb.Error as error:
        advice = _ON_FULL_DISK if os.strerror(errno.ENOSPC) in str(error) else ""
        raise StorageError(f"{advice}DuckDB can't go on: {_one_line(error)}") from error
    finally:
        con.close()


def load_stage(con: DuckDBPyConnection, file: Path) -> Stage:
    """Load a downloaded report into the table `STAGE`.

    Raises SchemaDrift for columns with the same name or a reserved one, ServiceError where the file is no CSV.
    """
    import duckdb  # noqa: PLC0415 - heavy; it is loaded by now

    with translate_io_errors(file), file.open("rb") as lines:
        columns = parse_columns(lines.readline(_HEADER_BYTES))
    if not columns:
        raise ServiceError("The report has no columns.")
    wrong = sorted({name for name in columns if columns.count(name) > 1 or name.startswith("_") or not name})
    if wrong:
        raise SchemaDrift(f"The report has columns that no table can: {', '.join(map(repr, wrong))[:300]}.")
    texts = ", ".join(f"{quote_text(name)}: 'VARCHAR'" for name in columns)
    con.execute(f"DROP TABLE IF EXISTS {STAGE}")
    read = f"read_csv({quote_text(str(file))}, columns = {{{texts}}}, {_CSV})"
    try:
        con.execute(f"CREATE TEMP TABLE stage AS SELECT * FROM {read}")  # noqa: S608 - names and texts are quoted
    except duckdb.InvalidInputException as error:
        raise ServiceError(f"The report can't be read: {_one_line(error)}") from error
    return Stage(con, columns)


def count_rows(con: DuckDBPyConnection, relation: str, condition: str = "true") -> int:
    """Count the rows of a relation for which the SQL condition holds."""
    (count,) = con.execute(f"SELECT count(*) FROM {relation} WHERE {condition}").fetchall()[0]  # noqa: S608 - quoted by the caller
    return int(count)


def _misfit_sql(field: Field) -> str:
    text = quote_name(field.name)
    misfit = f"FILTER ({text} IS NOT NULL AND NOT {fits_sql(field)})"
    number = is_number_sql(field.name)
    return (
        f"count(*) {misfit}, any_value({text}) {misfit}, coalesce(bool_and({number}) {misfit}, false), "
        f"coalesce(max({whole_digits_sql(field.name)}) {misfit}, 0), "
        f"coalesce(max({digits_sql(field.name)}) {misfit}, 0)"
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:400]
