"""The query of a load: good rows converted to a table's columns, bad ones with their reasons."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from reelport.check import nearest
from reelport.facts.rules import RowRefusal, Rule, absent_sql, make_rule, quote_name, quote_text
from reelport.facts.schema import sort_keys
from reelport.facts.tables import Table

REJECT = "_reject"
"""What is wrong with a row, as a struct of file, line, reason and raw; NULL for a good row."""
OUTSIDE = "_outside"
"""What of a good row lies outside its list, as a list of kinds; NULL where nothing does. Only lenient loads have it."""
PROBLEMS = "_problems"
"""What is wrong with a row, as a list of structs of kind and reason; NULL for a good row."""
DAY = "_day"
FILE = "_reelport_file"
LINE = "_reelport_line"
OUTPUT = "the mapping's output"
"""Where the rows come from that a mapping makes: they are no lines of any file."""
_SOURCE = "src"


Locate = Callable[[int], tuple[int, int]]
"""The file, from 0, and the line of what has this number among all that was read."""


@dataclass(frozen=True, slots=True)
class RowSource:
    """Rows that DuckDB can read: `relation` goes after FROM, `types` are its columns and their SQL types.

    `file` and `line` are SQL for where a row came from: the number of its file, from 0, and its line, from 1.
    A row of `OUTPUT` that isn't made of one row of a file has no file, and its number for a line. With `locate` the
    line is a number that it knows.
    """

    relation: str
    types: Mapping[str, str]
    file: str
    line: str
    named: str
    locate: Locate | None = None


def find_column_problems(table: Table, source: RowSource) -> list[str]:
    """Every reason why the source's columns can't be the table's."""
    known = {column.name: column for column in table.columns}
    problems = []
    for name in source.types:
        if name not in known:
            hint = nearest(name, [other for other in known if other not in source.types] or known)
            problems.append(f"unknown column {name!r}" + (f" (did you mean {hint}?)" if hint else ""))
    missing = [column.name for column in table.columns if column.required and column.name not in source.types]
    problems += [f"column {name} is missing" for name in missing]
    for name, kind in source.types.items():
        if name in known and isinstance(sentence := make_rule(known[name], kind, _SOURCE), str):
            problems.append(sentence)
    return [f"{source.named}: {problem}" for problem in problems]


def checked_sql(table: Table, source: RowSource, *, lenient: bool = False) -> str:
    """A SELECT of the table's columns, converted, of where rows came from, of `REJECT` and, where lenient, `OUTSIDE`.

    The source has no column problems. A lenient one keeps texts outside a list that no number depends on.
    """
    values, refusals, kept = _collect_rules(table, source, lenient=lenient)
    raw = ", ".join(f"{quote_text(name)}: {_SOURCE}.{quote_name(name)}" for name in source.types)
    reason = f"array_to_string({_met_sql(refusals, lambda one: one.reason)}, '; ')"
    what = (
        f"struct_pack(file := {source.file}, line := {source.line}, reason := {reason}, "
        f"raw := CAST(to_json({{{raw}}}) AS VARCHAR))"
    )
    reject = f"CASE WHEN {_any_sql(refusals)} THEN {what} END AS {REJECT}"
    outside = [f"{_outside_sql(kept)} AS {OUTSIDE}"] if lenient else []
    columns = [f"{value} AS {quote_name(name)}" for name, value in values.items()]
    return f"SELECT {', '.join([*columns, _place_sql(source), reject, *outside])} FROM {source.relation} AS {_SOURCE}"  # noqa: S608 - names are quoted


def judged_sql(table: Table, source: RowSource, *, lenient: bool = False) -> str:
    """A SELECT of what only judging needs: time or key, where the row came from, `PROBLEMS` and `OUTSIDE`."""
    values, refusals, kept = _collect_rules(table, source, lenient=lenient)
    met = _met_sql(refusals, lambda one: f"struct_pack(kind := {quote_text(one.kind)}, reason := {one.reason})")
    problems = f"CASE WHEN {_any_sql(refusals)} THEN {met} END AS {PROBLEMS}"
    name = table.time or table.key or ""
    value = f"{values[name]} AS {quote_name(name)}"
    return (
        f"SELECT {value}, {_place_sql(source)}, {problems}, {_outside_sql(kept)} AS {OUTSIDE} "  # noqa: S608 - names are quoted
        f"FROM {source.relation} AS {_SOURCE}"
    )


def _collect_rules(
    table: Table, source: RowSource, *, lenient: bool
) -> tuple[dict[str, str], list[RowRefusal], list[RowRefusal]]:
    """The SQL of each column's value, what refuses a row, and what is only counted."""
    values: dict[str, str] = {}
    refusals: list[RowRefusal] = []
    for column in table.columns:
        if column.name not in source.types:
            values[column.name] = absent_sql(column)
            continue
        made = make_rule(column, source.types[column.name], _SOURCE)
        assert isinstance(made, Rule)  # noqa: S101 - column_problems came first
        values[column.name] = made.value
        refusals += made.refusals
    kept = [one for one in refusals if lenient and one.is_outside]
    return values, [one for one in refusals if one not in kept], kept


def _any_sql(refusals: Sequence[RowRefusal]) -> str:
    return " OR ".join(f"coalesce({one.condition}, false)" for one in refusals) or "false"


def _met_sql(refusals: Sequence[RowRefusal], said: Callable[[RowRefusal], str]) -> str:
    """SQL of the list of what is said of each refusal that a row meets."""
    told = ", ".join(f"CASE WHEN {one.condition} THEN {said(one)} END" for one in refusals)
    return f"list_filter([{told}], lambda one: one IS NOT NULL)"


def _outside_sql(kept: Sequence[RowRefusal]) -> str:
    if not kept:
        return "CAST(NULL AS VARCHAR[])"
    return f"CASE WHEN {_any_sql(kept)} THEN {_met_sql(kept, lambda one: quote_text(one.kind))} END"


def _place_sql(source: RowSource) -> str:
    return f"{source.file} AS {quote_name(FILE)}, {source.line} AS {quote_name(LINE)}"


def sorted_rows_sql(table: Table, sources: Sequence[RowSource], *, lenient: bool = False) -> str:
    """The whole query of a load: bad rows first, then the good ones in the order of the table's files.

    Of an object's rows the last one of its key is taken.
    """
    names = ", ".join([*(quote_name(column.name) for column in table.columns), *([OUTSIDE] if lenient else [])])
    rows = " UNION ALL ".join(checked_sql(table, source, lenient=lenient) for source in sources)
    keys = ", ".join(quote_name(name) for name in sort_keys(table))
    if table.time is not None:
        day = f"CAST({quote_name(table.time)} AS DATE)"
        return (
            f"SELECT {names}, {REJECT}, {day} AS {DAY} FROM ({rows}) "  # noqa: S608 - names are our tables' own
            f"ORDER BY {REJECT} IS NULL, {DAY}, {keys}"
        )
    return (
        f"SELECT {names}, {REJECT}, NULL AS {DAY} FROM ({rows}) "  # noqa: S608 - names are our tables' own
        f"QUALIFY {REJECT} IS NOT NULL OR row_number() OVER ("
        f"PARTITION BY {REJECT} IS NULL, {keys} ORDER BY {quote_name(FILE)} DESC, {quote_name(LINE)} DESC) = 1 "
        f"ORDER BY {REJECT} IS NULL, {keys}"
    )
