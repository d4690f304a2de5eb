"""DuckDB SQL for a copy's columns: types, exact casts from text, a row's day.

A text is cast exactly or not at all: DuckDB's own cast turns '12.5' into 13 where a whole number is wanted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from reelport.catalog import CellType
from reelport.client.results.cells import PRECISION, Column, look_up_columns
from reelport.sql_quoting import quote_name, quote_text

TEXT = "VARCHAR"
DAY = "DATE"
MOMENT = "TIMESTAMP WITH TIME ZONE"

OWN = {"_spec": TEXT, "_window_start": DAY, "_window_end": DAY, "_report_token": TEXT, "_loaded_at": MOMENT}
"""Columns that sync adds to every row, beside those of its report."""

_WIDEST = f"DECIMAL({PRECISION},18)"
_NUMBER = re.compile(r"(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT)|DECIMAL\(\d+,(\d+)\)")
_PLAIN = r"[+-]?\d+(\.\d*)?"
_DAY_SHAPE = r"\d{4}-\d{2}-\d{2}"


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
        """Return the same column with room for so many digits around the point.

        None where none has it.
        """
        digits = max(digits, self.digits)
        return Field(self.name, f"DECIMAL({PRECISION},{digits})") if whole + digits <= PRECISION else None


def fields_of(columns: Iterable[str]) -> tuple[Field, ...]:
    """Give the fields of a report's columns, typed by the catalog; unknown ones as text."""
    return tuple(Field(column.name, _sql_type(column)) for column in look_up_columns(columns))


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


def is_number_sql(name: str) -> str:
    """SQL condition: the text in the column is a number of any kind."""
    text = quote_name(name)
    return f"(TRY_CAST({text} AS {_WIDEST}) IS NOT NULL OR regexp_full_match({text}, {quote_text(_PLAIN)}))"


def digits_sql(name: str) -> str:
    """SQL expression: how many digits after the decimal point the number in the column needs."""
    return f"length(rtrim(split_part({_plain_sql(name)}, '.', 2), '0'))"


def whole_digits_sql(name: str) -> str:
    """SQL expression: how many digits before the decimal point the number in the column needs."""
    return f"length(ltrim(split_part({_plain_sql(name)}, '.', 1), '+-0'))"


def _plain_sql(name: str) -> str:
    """SQL: the number in the column without exponent, as text; a long one's own text."""
    text = quote_name(name)
    return f"coalesce(CAST(TRY_CAST({text} AS {_WIDEST}) AS VARCHAR), {text})"


def day_sql(time: str, kind: str) -> str:
    """SQL expression: the UTC day of a time column of type `kind`; for a month, its first day."""
    match kind:
        case "DATE":
            return time
        case "VARCHAR":
            return f"TRY_CAST({time} || '-01' AS DATE)"
        case _:
            return f"CAST({time} AT TIME ZONE 'UTC' AS DATE)"


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


def _sql_type(column: Column) -> str:
    match column.type:
        case CellType.INTEGER:
            return "BIGINT"
        case CellType.DECIMAL:
            return f"DECIMAL({PRECISION},{column.digits})"
        case CellType.DAY:
            return DAY
        case CellType.HOUR | CellType.MINUTE:
            return MOMENT
        case _:
            return TEXT
