"""Columns typed by the catalog, and how cells are written and parsed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache

from reelport.catalog import CellType, Dimension, Metric
from reelport.query import parse_day, parse_moment

PRECISION = 38  # digits that a decimal column can hold, before and after the point together
Cell = str | int | Decimal | date | datetime | None
Read = Callable[[str], Cell]

TAG_SEPARATOR = "|"
"""Separates the tags of one CONTENT_TAG_LIST cell. No source shows the original's separator: this one is our choice."""
TAG_ESCAPE = "\\"
"""Escapes a separator or an escape within a tag: without it two different lists could give the same cell.

Doubling the separator would not do: the tags `a|` and `b` would read like `a` and `|b`.
"""

_BLANKS = " \t"  # blanks allowed around a number or a time; Arrow's reader allows them too
_INTEGER = re.compile(r"[+-]?\d{1,4000}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,2})?", re.ASCII)
_TAG = re.compile(r"(?:[^\\|]|\\.)+", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Column:
    """A column: name in lower case, type (text where it isn't `known`), a decimal's digits."""

    name: str
    type: CellType
    digits: int = 0
    known: bool = True

    @property
    def sql_type(self) -> str:
        """The type in DuckDB that holds its cells exactly; a count beyond 64 bits needs a decimal."""
        match self.type:
            case CellType.INTEGER:
                return "BIGINT"
            case CellType.DECIMAL:
                return f"DECIMAL({PRECISION},{self.digits})"
            case CellType.DAY:
                return "DATE"
            case CellType.HOUR | CellType.MINUTE:
                return "TIMESTAMP WITH TIME ZONE"
            case CellType.TEXT | CellType.MONTH:
                return "VARCHAR"


def describe_column(column: Column) -> str:
    """Describe a column: its name, type, and a decimal's digits after the point."""
    digits = f" ({column.digits} digits after the point)" if column.digits else ""
    return f"{column.name}: {column.type.name.lower()}{digits}{'' if column.known else ', not in the catalog'}"


def look_up_columns(columns: Iterable[str]) -> tuple[Column, ...]:
    """Look up columns in the catalog, by their names in any case."""
    found = []
    for name in columns:
        dimension, metric = Dimension.__members__.get(name.upper()), Metric.__members__.get(name.upper())
        if dimension is not None:
            found.append(Column(name.lower(), dimension.type))
        elif metric is not None:
            found.append(Column(name.lower(), metric.type, metric.digits))
        else:
            found.append(Column(name.lower(), CellType.TEXT, known=False))
    return tuple(found)


def find_parser(kind: CellType) -> Read:
    """Return the parser for cells of a type. The parser raises ValueError for an invalid text."""
    match kind:
        case CellType.TEXT | CellType.MONTH:
            return str
        case CellType.INTEGER:
            return _parse_integer
        case CellType.DECIMAL:
            return _parse_decimal
        case CellType.DAY:
            return _parse_day
        case CellType.HOUR | CellType.MINUTE:
            return _parse_moment


def _parse_integer(text: str) -> int | Decimal | None:
    """Parse a whole number; a fraction that a vendor gives there stays a Decimal."""
    if text.isdecimal() and text.isascii():
        return int(text)
    bare = text.strip(_BLANKS)
    return int(bare) if _INTEGER.fullmatch(bare) else _parse_decimal(text)


def _parse_decimal(text: str) -> Decimal | None:
    if not text:
        return None  # An empty number is null, with or without quotes.
    bare = text.strip(_BLANKS)
    if not _DECIMAL.fullmatch(bare):
        raise ValueError(text)
    return Decimal(bare)


@lru_cache(4096)
def _parse_day(text: str) -> date | None:
    return parse_day(text.strip(_BLANKS)) if text else None


@lru_cache(4096)
def _parse_moment(text: str) -> datetime | None:
    return parse_moment(text.strip(_BLANKS)) if text else None


def split_tags(cell: str) -> tuple[str, ...]:
    """Split a CONTENT_TAG_LIST cell that Reelport wrote into its tags; an empty one has none."""
    return tuple(_ESCAPED.sub(r"\1", tag) for tag in _TAG.findall(cell))
