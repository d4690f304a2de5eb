"""The columns of a copy as SQL of DuckDB: their types, what fits into them, and which day a row is of.

Texts are cast exactly or not at all: DuckDB's own cast makes 13 of '12.5' where a whole number is wanted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from reelport.catalog import CellType
from reelport.client.results.columns import PRECISION, Column, types_of

TEXT = "VARCHAR"
DAY = "DATE"
MOMENT = "TIMESTAMP WITH TIME ZONE"

OWN = {"_spec": TEXT, "_window_start": DAY, "_window_end": DAY, "_report_token": TEXT, "_loaded_at": MOMENT}
"""What every row says of itself, beside its report's columns."""

_WIDEST = f"DECIMAL({PRECISION},18)"
_NUMBER = re.compile(r"(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT)|DECIMAL\(\d+,(\d+)\)")
_DAY_SHAPE = r"\d{4}-\d{2}-\d{2}"


@dataclass(frozen=True, slots=True)
class Field:
    """A column of a copy: its name and its type in DuckDB."""

    name: str
    type: str

    @property
    def is_number(self) -> bool:
        """Whether it holds numbers, whole or decimal."""
        return _NUMBER.fullmatch(self.type) is not None

    @property
    def digits(self) -> int:
        """Digits after the point, 0 for a whole number."""
        found = _NUMBER.fullmatch(self.type)
        return int(found[2] or 0) if found else 0

    def widened(self, digits: int) -> Field:
        """The same with room for so many digits after the point."""
        return Field(self.name, f"DECIMAL({PRECISION},{max(digits, self.digits)})")


def fields_of(columns: Iterable[str]) -> tuple[Field, ...]:
    """What the catalog says that the columns of a report hold; text where it knows nothing of them."""
    return tuple(Field(column.name, _type(column)) for column in types_of(columns))


def quoted(name: str) -> str:
    """A name as SQL, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as SQL, whatever is in it."""
    return "'" + text.replace("'", "''") + "'"


def fits(field: Field) -> str:
    """Whether the text in the column is a value of the field, exactly."""
    text = quoted(field.name)
    cast = f"TRY_CAST({text} AS {field.type})"
    if field.type == TEXT:
        return "true"
    if field.is_number:
        return f"coalesce({cast} = TRY_CAST({text} AS {_WIDEST}), false)"
    shape = f" AND regexp_full_match({text}, {literal(_DAY_SHAPE)})" if field.type == DAY else ""
    return f"({cast} IS NOT NULL{shape})"


def cast(field: Field) -> str:
    """The text in the column as a value of the field, NULL where it is none."""
    text = quoted(field.name)
    return text if field.type == TEXT else f"CASE WHEN {fits(field)} THEN TRY_CAST({text} AS {field.type}) END"


def is_number(name: str) -> str:
    """Whether the text in the column is a number of any kind."""
    return f"TRY_CAST({quoted(name)} AS {_WIDEST}) IS NOT NULL"


def digits_of(name: str) -> str:
    """How many digits after the point the number in the column needs."""
    return f"length(rtrim(split_part(CAST(TRY_CAST({quoted(name)} AS {_WIDEST}) AS VARCHAR), '.', 2), '0'))"


def day_of(time: str, kind: str) -> str:
    """The day of UTC that a value of time, of this type, is of; of a month, its first."""
    match kind:
        case "DATE":
            return time
        case "VARCHAR":
            return f"TRY_CAST({time} || '-01' AS DATE)"
        case _:
            return f"CAST({time} AT TIME ZONE 'UTC' AS DATE)"


def within(time: str, kind: str, first: date, last: date) -> str:
    """Whether a value of time, of this type, is of these days; in a shape that lets a table skip what is not."""
    match kind:
        case "DATE":
            return f"({time} BETWEEN DATE '{first}' AND DATE '{last}')"
        case "VARCHAR":
            return f"({time} BETWEEN '{first:%Y-%m}' AND '{last:%Y-%m}')"
        case _:
            after = last + timedelta(days=1)
            return f"({time} >= TIMESTAMPTZ '{first} 00:00:00+00' AND {time} < TIMESTAMPTZ '{after} 00:00:00+00')"


def _type(column: Column) -> str:
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
