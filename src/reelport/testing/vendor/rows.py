"""Make rows for any ask: equal asks give equal bytes, and additive metrics add up.

Each day has some facts, each fact a cell of every dimension and a number of every measure, all of them drawn
from checksums; a report groups them. Names that the catalog doesn't know get cells and sums as well.
"""

from __future__ import annotations

import csv
import io
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from itertools import product
from typing import Any

from reelport.catalog import (
    CellType,
    Difference,
    Dimension,
    Distinct,
    Filter,
    Metric,
    Ratio,
    Rule,
    Stock,
    Sum,
    measures,
    round_ratio,
)
from reelport.query import ReportQuery

Fact = tuple[date, int]

_WORDS = ("amber", "birch", "cobalt", "dune", "ember", 'Café, "été"', "fjord", "NA", "grove", "Émoji 🎬", "", "harbor")
"""Texts of cells, among them commas, quotes, an `NA` that is a text, and an empty one."""

_VIEWERS = 5


def make_csv(wire: Mapping[str, Any], facts_a_day: int = 8) -> bytes:
    """Make the CSV of an ask."""
    query = ReportQuery.from_wire(wire)
    seed = f"{query.product}|{query.filters}"
    groups: dict[tuple[str, ...], list[Fact]] = defaultdict(list)
    for day in (query.start + timedelta(days) for days in range(query.days)):
        for number in range(facts_a_day):
            for cells in product(*(_cells(name, day, number, query) for name in query.dimensions)):
                groups[cells].append((day, number))
    if not query.dimensions and not groups:
        groups[()] = []
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([name.lower() for name in (*query.dimensions, *query.metrics)])
    for cells in sorted(groups, key=lambda cells: [cell.encode() for cell in cells]):
        table.writerow([*cells, *(_number(name, groups[cells], seed) for name in query.metrics)])
    return text.getvalue().encode()


def _cells(name: str, day: date, number: int, query: ReportQuery) -> tuple[str, ...]:
    """Return the cells of a dimension for a fact: one, or two where it is many-valued."""
    dimension = Dimension.__members__.get(name)
    match dimension.type if dimension else CellType.TEXT:
        case CellType.DAY:
            return (day.isoformat(),)
        case CellType.MONTH:
            return (f"{day:%Y-%m}",)
        case CellType.HOUR:
            return (f"{day}T{number % 24:02}:00:00Z",)
        case CellType.MINUTE:
            return (f"{day}T{number % 24:02}:{number % 60:02}:00Z",)
    for filtered, value in query.filters:
        if (row := Filter.__members__.get(filtered)) and row.dimension is dimension:
            return (value.lower() if row.choices else value,)
    first = _text(name, number)
    return (first, _text(name, number + 1)) if dimension and dimension.many_valued else (first,)


def _text(name: str, number: int) -> str:
    return _WORDS[_draw(f"{name}|{number}") % len(_WORDS)] if number < len(_WORDS) else f"{name.lower()}-{number}"


def _number(name: str, facts: Iterable[Fact], seed: str) -> str:
    metric = Metric.__members__.get(name)
    rule: Rule = metric.rule if metric else Sum(name)
    facts = list(facts)
    match rule:
        case Ratio():
            return _ratio(rule, facts, seed)
        case Distinct(of):
            return str(len({_draw(f"{of}|{number}|{day.toordinal() % 3}") % _VIEWERS for day, number in facts}))
        case Stock(measure):
            last = max((day for day, _ in facts), default=None)
            return f"{_sum_measure(measure, [fact for fact in facts if fact[0] == last], seed):f}"
        case Difference(minuend, subtrahend):
            return f"{_sum_measure(minuend, facts, seed) - _sum_measure(subtrahend, facts, seed):f}"
        case _:
            return f"{sum(_sum_measure(part, facts, seed) for part in measures(rule)):f}"


def _ratio(rule: Ratio, facts: list[Fact], seed: str) -> str:
    below = sum(_sum_measure(part, facts, seed) for part in rule.denominator)
    whole = round_ratio(_sum_measure(rule.numerator, facts, seed), below, rule.scale, rule.digits)
    return "" if whole is None else f"{Decimal(whole).scaleb(-rule.digits):f}"


def _sum_measure(measure: str, facts: Iterable[Fact], seed: str) -> Decimal:
    """Sum a measure over facts, with the digits that the catalog gives it."""
    whole = sum(_draw(f"{seed}|{measure}|{day}|{number}") % 9973 for day, number in facts)
    return Decimal(whole).scaleb(-_digits().get(measure, 0))


@cache
def _digits() -> dict[str, int]:
    return {rule.measure: rule.digits for metric in Metric if isinstance(rule := metric.rule, Sum)}


def _draw(text: str) -> int:
    return zlib.crc32(text.encode())
