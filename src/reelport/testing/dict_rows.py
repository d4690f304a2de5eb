"""Convert dicts into an Arrow table of texts, as a file of facts would have them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from itertools import islice
from numbers import Integral
from typing import TYPE_CHECKING

from reelport.check import nearest
from reelport.errors import BadInput, UsageError
from reelport.facts.tables import Kind, Table, find_table

if TYPE_CHECKING:
    import pyarrow as pa

Row = Mapping[str, object]

_SHOWN = 20  # the most problems that one error lists
_WANTED = {
    Kind.TEXT: "a text",
    Kind.COUNT: "a whole number",
    Kind.MONEY: "a number",
    Kind.DAY: "a date",
    Kind.MOMENT: "a datetime",
    Kind.TEXTS: "a list of texts",
}


def to_arrow(name: str, rows: Iterable[Row]) -> pa.Table:
    """Convert a table's rows into Arrow, as texts. An absent key, or None, is an empty cell.

    Raises UsageError for an unknown table, and BadInput with every row that has an unknown column or a value of the
    wrong type. Whether a value is allowed is checked by the load.
    """
    import pyarrow as pa  # noqa: PLC0415 - a service without facts need not wait for it

    table = find_table(name)
    given = _list_rows(name, rows)
    problems = [problem for number, row in enumerate(given, start=1) for problem in _find_problems(table, number, row)]
    if problems:
        raise _build_error(problems)
    columns = [column for column in table.columns if column.required or any(column.name in row for row in given)]
    cells = {column.name: pa.array([_format_cell(row.get(column.name)) for row in given]) for column in columns}
    return pa.table({name: column.cast(pa.string()) for name, column in cells.items()})


def _list_rows(name: str, rows: Iterable[Row]) -> list[Row]:
    if isinstance(rows, Mapping | str | bytes):
        raise UsageError(f"Rows are a list of dicts, one a row, and not one {type(rows).__name__}.")
    given = list(rows)
    if not given:
        raise BadInput(f"There are no rows to load into {name}.")
    return given


def _find_problems(table: Table, number: int, row: object) -> list[str]:
    if not isinstance(row, Mapping):
        return [f"row {number} is of the type {type(row).__name__}, and not a dict by column"]
    columns = {column.name: column for column in table.columns}
    found: list[str] = []
    for name, value in row.items():
        if name not in columns:
            hint = nearest(str(name), columns)
            likely = f" (did you mean {hint}?)" if hint else ""
            found.append(f"row {number}: {table.name} has no column {name!r}{likely}")
        elif not _is_of_kind(columns[name].kind, value):
            what = f"{repr(value)[:60]} is of the type {type(value).__name__}"
            found.append(f"row {number}: {name}: {what}, where {_WANTED[columns[name].kind]} should be")
    return found


def _is_of_kind(kind: Kind, value: object) -> bool:
    """Whether a value's type can stand for a kind; a text can for every kind."""
    if isinstance(value, bool):
        return False
    if value is None or isinstance(value, str):
        return True
    match kind:
        case Kind.TEXT:
            return isinstance(value, Integral)
        case Kind.COUNT | Kind.MONEY:
            return isinstance(value, Integral | float | Decimal)
        case Kind.DAY | Kind.MOMENT:
            return isinstance(value, date)
        case Kind.TEXTS:
            return isinstance(value, Sequence | set | frozenset) and all(isinstance(each, str) for each in value)


def _format_cell(value: object) -> str | None:
    """Format a value as a file would have it; a datetime without a zone is UTC."""
    match value:
        case None | str():
            return value
        case datetime():
            return value.isoformat(timespec="microseconds")
        case date():
            return value.isoformat()
        case float() | Decimal() | Integral():
            # str gives a float's shortest text, so that 0.1 stays 0.1.
            return format(Decimal(str(value)), "f")
        case _:
            assert isinstance(value, Iterable)  # noqa: S101 - nothing else fits a column
            return json.dumps(list(value), ensure_ascii=False)


def _build_error(problems: Sequence[str]) -> BadInput:
    listed = "\n".join(f"  {problem}" for problem in islice(problems, _SHOWN))
    more = f"\n  … and {len(problems) - _SHOWN:,} more" if len(problems) > _SHOWN else ""
    return BadInput(f"nothing was loaded:\n{listed}{more}")
