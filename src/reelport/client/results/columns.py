"""Types of a report's columns, according to the catalog."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from reelport.catalog import CellType, Dimension, Metric

PRECISION = 38
"""Digits that a decimal column can hold, before and after the point together."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: name in lower case, type of cells, a decimal's digits after the point.

    `known` is false for a column that the catalog lacks: its cells are text.
    """

    name: str
    type: CellType
    digits: int = 0
    known: bool = True


def describe_column(column: Column) -> str:
    """Describe a column: its name, type, and a decimal's digits after the point."""
    digits = f" ({column.digits} digits after the point)" if column.digits else ""
    return f"{column.name}: {column.type.name.lower()}{digits}{'' if column.known else ', not in the catalog'}"


def look_up_columns(columns: Iterable[str]) -> tuple[Column, ...]:
    """Look up columns in the catalog, by their names in any case."""
    return tuple(_look_up(name) for name in columns)


def _look_up(name: str) -> Column:
    wire = name.upper()
    if wire in Dimension.__members__:
        return Column(name.lower(), Dimension[wire].type)
    if wire in Metric.__members__:
        return Column(name.lower(), Metric[wire].type, Metric[wire].digits)
    return Column(name.lower(), CellType.TEXT, known=False)
