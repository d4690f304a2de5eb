"""Write a load's SQL: convert good rows to the table's columns, give bad ones reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from reelport.check import nearest
from reelport.facts.row_rules import RowRefusal, Rule, absent_sql, make_ahead_refusal, make_rule
from reelport.facts.tables import Table, sort_keys
from reelport.sql_quoting import quote_name, quote_text

REJECT = "_reject"
"""Column: why the row is refused, as a struct of file, line, problems and raw; NULL for a good row.

A problem is a struct of kind and reason; NULL for one that the row doesn't have.
"""
OUTSIDE = "_outside"
"""Column of lenient loads: texts of a good row that aren't in their list, as a list of kinds, or NULLs, or NULL."""
DAY = "_day"
FILE = "_reelport_file"
LINE = "_reelport_line"
OUTPUT = "the mapping's output"
"""The name of the source of a mapping's rows, which are not lines of a file."""
_SOURCE = "src"


@dataclass(frozen=True, slots=True)
class RowSource:
    """Rows for DuckDB: `relation` goes after FROM, `types` are columns and SQL types.

    `file` and `line` are the SQL of a row's place: the number of its file, from 0, and its line, from 1. A row of
    `OUTPUT` has no file, and its line is its number in the output.
    """

    relation: str
    types: Mapping[str, str]
    file: str
    line: str
    named: str


def find_column_problems(table: Table, source: RowSource) -> list[str]:
    """List every reason why the source's columns don't fit the table."""
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


def load_sql(table: Table, sources: Sequence[RowSource], *, lenient: bool = False, now: datetime | None = None) -> str:
    """Write a SELECT of columns, file, line, `REJECT`, and of lenient loads `OUTSIDE`.

    The sources must have no column problems. If lenient, texts outside a list that no number depends on are kept. Facts
    that lie too far ahead of `now` are refused; none where it isn't given.
    """
    return " UNION ALL ".join(_source_sql(table, source, lenient=lenient, now=now) for source in sources)


def _source_sql(table: Table, source: RowSource, *, lenient: bool, now: datetime | None) -> str:
    values, refusals, kept = _collect_rules(table, source, lenient=lenient, now=now)
    raw = ", ".join(f"{quote_text(name)}: {_SOURCE}.{quote_name(name)}" for name in source.types)
    # A list with NULLs, not filtered: to plan a lambda takes as long as all the rest of a small load's query.
    problems = ", ".join(
        f"CASE WHEN {one.condition} THEN struct_pack(kind := {quote_text(one.kind)}, reason := {one.reason}) END"
        for one in refusals
    )
    what = (
        f"struct_pack(file := {source.file}, line := {source.line}, "
        f"problems := CAST([{problems}] AS STRUCT(kind VARCHAR, reason VARCHAR)[]), "
        f"raw := CAST(to_json({{{raw}}}) AS VARCHAR))"
    )
    reject = f"CASE WHEN {_any_sql(refusals)} THEN {what} END AS {REJECT}"
    kinds = ", ".join(f"CASE WHEN {one.condition} THEN {quote_text(one.kind)} END" for one in kept)
    outside = [f"CASE WHEN {_any_sql(kept)} THEN CAST([{kinds}] AS VARCHAR[]) END AS {OUTSIDE}"] if lenient else []
    columns = [f"{value} AS {quote_name(name)}" for name, value in values.items()]
    place = f"{source.file} AS {quote_name(FILE)}, {source.line} AS {quote_name(LINE)}"
    return f"SELECT {', '.join([*columns, place, reject, *outside])} FROM {source.relation} AS {_SOURCE}"  # noqa: S608 - names are quoted


def _collect_rules(
    table: Table, source: RowSource, *, lenient: bool, now: datetime | None
) -> tuple[dict[str, str], list[RowRefusal], list[RowRefusal]]:
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
        if now is not None and column.name == table.time:
            refusals.append(make_ahead_refusal(column, made.value, now))
    kept = [one for one in refusals if lenient and one.is_outside]
    return values, [one for one in refusals if one not in kept], kept


def join_reasons(reject: Mapping[str, Any]) -> str:
    """Join the reasons of a row's `REJECT`."""
    return "; ".join(problem["reason"] for problem in reject["problems"] if problem and problem["reason"])


def _any_sql(refusals: Sequence[RowRefusal]) -> str:
    return " OR ".join(f"coalesce({one.condition}, false)" for one in refusals) or "false"


def sorted_load_sql(
    table: Table, sources: Sequence[RowSource], *, lenient: bool = False, now: datetime | None = None
) -> str:
    """Write a load's query: bad rows first, then good ones sorted; of equal keys the last row."""
    names = ", ".join([*(quote_name(column.name) for column in table.columns), *([OUTSIDE] if lenient else [])])
    rows = load_sql(table, sources, lenient=lenient, now=now)
    keys = ", ".join(quote_name(name) for name in sort_keys(table))
    if table.time is not None:
        day = f"CAST({quote_name(table.time)} AS DATE)"
        return (
            f"SELECT {names}, {REJECT}, {day} AS {DAY} FROM ({rows}) "  # noqa: S608 - names are our tables' own
            f"ORDER BY {REJECT} IS NULL, {DAY}, {keys}"
        )
    latest = ", ".join(f"{quote_name(place)} DESC" for place in (FILE, LINE))
    return (
        f"SELECT {names}, {REJECT}, NULL AS {DAY} FROM ({rows}) "  # noqa: S608 - names are our tables' own
        f"QUALIFY {REJECT} IS NOT NULL OR row_number() OVER ("
        f"PARTITION BY {REJECT} IS NULL, {keys} ORDER BY {latest}) = 1 "
        f"ORDER BY {REJECT} IS NULL, {keys}"
    )
