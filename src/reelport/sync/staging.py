"""Staging: load a window's CSV into a table of texts, and cast them exactly or not.

DuckDB's own cast turns '12.5' into 13 where a whole number is wanted.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from reelport.cells import PRECISION, look_up_columns
from reelport.client.files.csv_checks import parse_columns
from reelport.client.files.download_target import translate_io_errors
from reelport.client.ranges.windows import Window
from reelport.errors import SchemaDrift, ServiceError, StorageError, UsageError
from reelport.sql_quoting import quote_name, quote_text
from reelport.sync.spec import Days
from reelport.wording import advise_extra

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


TEXT = "VARCHAR"
DAY = "DATE"
MOMENT = "TIMESTAMP WITH TIME ZONE"

# Columns that sync adds to every row, beside those of its report.
OWN = {"_spec": TEXT, "_window_start": DAY, "_window_end": DAY, "_report_token": TEXT, "_loaded_at": MOMENT}

_WIDEST = f"DECIMAL({PRECISION},18)"
_NUMBER = re.compile(r"(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT)|DECIMAL\(\d+,(\d+)\)")
_PLAIN = r"[+-]?\d+(\.\d*)?"
_DAY_SHAPE = r"\d{4}-\d{2}-\d{2}"

STAGE = "temp.main.stage"
_HEADER_BYTES = 1 << 16
_ON_FULL_DISK = "The disk is full: make room, and run the same again. "

# DuckDB must guess nothing: a folder named `views=9` is no column of the files in it.
_CSV = (
    "auto_detect = false, header = true, delim = ',', quote = '\"', escape = '\"', nullstr = '', "
    "hive_partitioning = false, max_line_size = 16777216"
)


@dataclass(frozen=True, slots=True)
class Field:
    """A column of a copy: its name and its type in DuckDB."""

    name: str
    type: str

    @property
    def is_number(self) -> bool:
        """Whether the column holds numbers, whole or decimal."""
        return _NUMBER.fullmatch(self.type) is not None

    @property
    def digits(self) -> int:
        """The digits after the decimal point; 0 for a whole number."""
        found = _NUMBER.fullmatch(self.type)
        return int(found[2] or 0) if found else 0

    def widen(self, whole: int, digits: int) -> Field | None:
        """Return the column with room for so many digits; None where no type has it."""
        digits = max(digits, self.digits)
        return Field(self.name, f"DECIMAL({PRECISION},{digits})") if whole + digits <= PRECISION else None


def fields_of(columns: Iterable[str]) -> tuple[Field, ...]:
    """Give the fields of a report's columns, typed by the catalog; unknown ones as text."""
    return tuple(Field(column.name, column.sql_type) for column in look_up_columns(columns))


def fits_sql(field: Field) -> str:
    """SQL condition: the text in the column is exactly a value of the field's type."""
    text = quote_name(field.name)
    cast = f"TRY_CAST({text} AS {field.type})"
    if field.type == TEXT:
        return "true"
    if field.is_number:
        # A number that is too long for the widest decimal is held against its own text.
        exact = rf"[+-]?\d+(\.\d{{0,{field.digits}}}0*)?"
        long = f"{cast} IS NOT NULL AND regexp_full_match({text}, {quote_text(exact)})"
        wide = f"TRY_CAST({text} AS {_WIDEST})"
        return f"CASE WHEN {wide} IS NULL THEN {long} ELSE coalesce({cast} = {wide}, false) END"
    shape = f" AND regexp_full_match({text}, {quote_text(_DAY_SHAPE)})" if field.type == DAY else ""
    return f"({cast} IS NOT NULL{shape})"


def cast_sql(field: Field) -> str:
    """SQL: the column's text cast to the field's type; NULL where it doesn't fit."""
    text = quote_name(field.name)
    return text if field.type == TEXT else f"CASE WHEN {fits_sql(field)} THEN TRY_CAST({text} AS {field.type}) END"


def day_sql(time: Field) -> str:
    """SQL expression: the UTC day of a time column; for a month, its first day."""
    name = quote_name(time.name)
    match time.type:
        case "DATE":
            return name
        case "VARCHAR":
            return f"TRY_CAST({name} || '-01' AS DATE)"
        case _:
            return f"CAST({name} AT TIME ZONE 'UTC' AS DATE)"


def within_sql(time: str, kind: str, first: date, last: date) -> str:
    """SQL condition: a time column lies in these days; DuckDB can skip row groups."""
    match kind:
        case "DATE":
            return f"({time} BETWEEN DATE '{first}' AND DATE '{last}')"
        case "VARCHAR":
            return f"({time} BETWEEN '{first:%Y-%m}' AND '{last:%Y-%m}')"
        case _:
            after = last + timedelta(days=1)
            return f"({time} >= TIMESTAMPTZ '{first} 00:00:00+00' AND {time} < TIMESTAMPTZ '{after} 00:00:00+00')"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A downloaded report: window, file, token; when (UTC) and where it was asked for."""

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
        """The field with room for these values; None if they are no numbers or too long."""
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
    wide = f"TRY_CAST({text} AS {_WIDEST})"
    is_number = f"({wide} IS NOT NULL OR regexp_full_match({text}, {quote_text(_PLAIN)}))"
    plain = f"coalesce(CAST({wide} AS VARCHAR), {text})"  # without an exponent; a number that is too long as it is
    whole, digits = f"ltrim(split_part({plain}, '.', 1), '+-0')", f"rtrim(split_part({plain}, '.', 2), '0')"
    return (
        f"count(*) {misfit}, any_value({text}) {misfit}, coalesce(bool_and({is_number}) {misfit}, false), "
        f"coalesce(max(length({whole})) {misfit}, 0), coalesce(max(length({digits})) {misfit}, 0)"
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:400]
