"""Arithmetic of the merge: exact sums, rates rounded from them; no floats."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Context, Decimal, Inexact

from reelport.additivity import Added, Cell, Rate
from reelport.catalog import round_ratio
from reelport.errors import MergeRefused

Number = int | Decimal | None
"""None is an empty cell: it adds nothing, and a sum of empty cells is empty."""

_NUMBER = re.compile(rb"[+-]?(?:\d{1,400}(?:\.\d{0,400})?|\.\d{1,400})(?:[eE][+-]?\d{1,2})?")
_EXACT = Context(prec=2000, traps=[Inexact])


def parse_number(cell: bytes, column: str) -> Number:
    """Parse a cell as a number; None for an empty cell. Raises MergeRefused for any other text."""
    if cell.isdigit():  # of bytes: the ten of ASCII only
        return int(cell)
    if not cell or cell == b'""':
        return None
    if not _NUMBER.fullmatch(cell):
        raise MergeRefused(
            f"A cell of {column} holds {cell[:80].decode(errors='replace')!r}, which can't be added up. "
            "Leave the windows as files of their own (keep_windows, --keep-windows)."
        )
    text = cell.decode()
    return Decimal(text) if any(mark in text for mark in ".eE") else int(text)


def parse_cells(row: Sequence[bytes], columns: Sequence[str]) -> list[Number]:
    """Parse the cells of a row as numbers."""
    if b"".join(row).isdigit() and all(row):  # Most rows hold only counts: this is several times as fast.
        return [int(cell) for cell in row]
    return [parse_number(cell, column) for cell, column in zip(row, columns, strict=True)]


def add_rows(one: Sequence[Number], other: Sequence[Number]) -> list[Number]:
    """Add two rows exactly."""
    return [
        left + right if type(left) is int and type(right) is int else add(left, right)
        for left, right in zip(one, other, strict=True)
    ]


def add(one: Number, other: Number) -> Number:
    """Add two numbers exactly."""
    if one is None or other is None:
        return other if one is None else one
    if isinstance(one, int) and isinstance(other, int):
        return one + other
    return _EXACT.add(Decimal(one), Decimal(other))


def format_number(value: Number, digits: int = 0) -> bytes:
    """Format a number as a cell: `digits` digits after the point at least, no exponent."""
    if value is None:
        return b""
    if isinstance(value, int) and not digits:
        return b"%d" % value
    shown = f"{Decimal(value):f}"
    short = digits - len(shown.partition(".")[2])
    if short > 0:
        shown += ("" if "." in shown else ".") + "0" * short
    return shown.encode()


def compute_cell(made: Cell, sums: Sequence[Number]) -> bytes:
    """Compute and format a cell from the sums of a row's columns."""
    match made:
        case Added(column, digits):
            return format_number(sums[column], digits)
        case Rate(numerator, denominator):
            below: Number = None
            for column in denominator:
                below = add(below, sums[column])
            return _compute_rate(made, sums[numerator], below)


def _compute_rate(rate: Rate, above: Number, below: Number) -> bytes:
    """Compute and format a rate; empty where a sum is."""
    whole = None if above is None else round_ratio(above, below or 0, rate.scale, rate.digits)
    if whole is None:
        return b""
    if not rate.digits:
        return b"%d" % whole
    front, back = divmod(abs(whole), 10**rate.digits)
    return f"{'-' if whole < 0 else ''}{front}.{back:0{rate.digits}d}".encode()
