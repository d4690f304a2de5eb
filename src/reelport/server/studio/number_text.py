"""Writes numbers of a view as people read them: rounded where a table would be too wide."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from reelport.catalog import Metric
from reelport.server.explore.numbers import Figure, Number

NO_NUMBER = "\N{EN DASH}"
_THIN = "\N{NARROW NO-BREAK SPACE}"
_MINUS = "\N{MINUS SIGN}"
_LEAST_SCALED = Decimal("0.1")
_DIGITS, _FINE_DIGITS = 2, 4
_LEAST_MONEY = Decimal("0.01")
_CURRENCIES = {"EUR": "€", "USD": "$"}
"""The sign of each currency, by the word with which the units of its amounts begin."""


def write_number(metric: Metric, value: Number) -> str:
    """Write a cell: whole numbers in full, decimals with two digits, and with four below 1; money by its sign."""
    if value is None:
        return NO_NUMBER
    if sign := _CURRENCIES.get(metric.unit.value.partition(" ")[0]):
        return _write_money(sign, Decimal(value))
    if isinstance(value, int):
        return group_digits(f"{value:,}")
    digits = _DIGITS if abs(value) >= 1 or not value else _FINE_DIGITS
    return group_digits(f"{value:,.{min(digits, metric.digits)}f}")


def _write_money(sign: str, value: Decimal) -> str:
    """Write an amount with two digits, so that those of a column stand below each other."""
    if value and abs(value) < _LEAST_MONEY:
        return f"{_MINUS if value < 0 else ''}<\N{NO-BREAK SPACE}{sign}{_LEAST_MONEY}"
    return f"{_MINUS if value < 0 else ''}{sign}{group_digits(f'{abs(value):,.2f}')}"


def write_scaled(value: Decimal) -> str:
    """Write an amount in a larger unit than its own, with one digit behind the point."""
    if value and abs(value) < _LEAST_SCALED:
        return f"< {_LEAST_SCALED}"
    return group_digits(f"{value:,.1f}")


def write_full(value: Number) -> str:
    """Write a cell as the report's file has it."""
    return "" if value is None else str(value)


def write_share(share: Decimal | None) -> str:
    """Write a share of a total: 12.3 %."""
    return NO_NUMBER if share is None else f"{group_digits(f'{share * 100:,.1f}')}{_THIN}%"


def write_change(figure: Figure, write: Callable[[Number], str]) -> str:
    """Write how much a number changed: by what part, else by how much, which `write` writes."""
    if figure.difference is None:
        return NO_NUMBER
    if figure.change is not None:
        percent = round(abs(figure.change) * 100, 1)
        sign = _sign(figure.difference) if percent else ""
        return f"{sign}{group_digits(f'{percent:,.1f}')}{_THIN}%"
    size = -figure.difference if figure.difference < 0 else figure.difference
    return f"{_sign(figure.difference)}{write(size)}"


def _sign(difference: int | Decimal) -> str:
    return _MINUS if difference < 0 else "+" if difference > 0 else ""


def group_digits(text: str) -> str:
    """Set thousands apart by thin spaces, and write a minus as wide as a digit."""
    return text.replace(",", _THIN).replace("-", _MINUS)
