"""The query of a load: good rows converted to a table's columns, bad ones with their reasons."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from reelport.check import nearest
from reelport.facts.rules import Refusal, Rule, absent, literal, quoted, rule
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
class Source:
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


def column_problems(table: Table, source: Source) -> list[str]:
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
        if name in known and isinstance(sentence := rule(known[name], kind, _SOURCE), str):
            problems.append(sentence)
    return [f"{source.named}: {problem}" for problem in problems]


def checked(table: Table, source: Source, *, lenient: bool = False) -> str:
    """A SELECT of the table's columns, converted, of where rows came from, of `REJECT` and, where lenient, `OUTSIDE`.

    The source has no column problems. A lenient one keeps texts outside a list that no number depends on.
    """
    values, refusals, kept = _rules(table, source, lenient=lenient)
    raw = ", ".join(f"{literal(name)}: {_SOURCE}.{quoted(name)}" for name in source.types)
    reason = f"array_to_string({_met(refusals, lambda one: one.reason)}, '; ')"
    what = (
        f"struct_pack(file := {source.file}, line := {source.line}, reason := {reason}, "
        f"raw := CAST(to_json({{{raw}}}) AS VARCHAR))"
    )
    reject = f"CASE WHEN {_any(refusals)} THEN {what} END AS {REJECT}"
    outside = [f"{_outside(kept)} AS {OUTSIDE}"] if lenient else []
    columns = [f"{value} AS {quoted(name)}" for name, value in values.items()]
    return f"SELECT {', '.join([*columns, _place(source), reject, *outside])} FROM {source.relation} AS {_SOURCE}"  # noqa: S608 - names are quoted


def judged(table: Table, source: Source, *, lenient: bool = False) -> str:
    """A SELECT of what only judging needs: time or key, where the row came from, `PROBLEMS` and `OUTSIDE`."""
    values, refusals, kept = _rules(table, source, lenient=lenient)
    met = _met(refusals, lambda one: f"struct_pack(kind := {literal(one.kind)}, reason := {one.reason})")
    problems = f"CASE WHEN {_any(refusals)} THEN {met} END AS {PROBLEMS}"
    name = table.time or table.key or ""
    value = f"{values[name]} AS {quoted(name)}"
    return (
        f"SELECT {value}, {_place(source)}, {problems}, {_outside(kept)} AS {OUTSIDE} "  # noqa: S608 - names are quoted
        f"FROM {source.relation} AS {_SOURCE}"
    )


def _rules(table: Table, source: Source, *, lenient: bool) -> tuple[dict[str, str], list[Refusal], list[Refusal]]:
    """The SQL of each column's value, what refuses a row, and what is only counted."""
    values: dict[str, str] = {}
    refusals: list[Refusal] = []
    for column in table.columns:
        if column.name not in source.types:
            values[column.name] = absent(column)
            continue
        made = rule(column, source.types[column.name], _SOURCE)
        assert isinstance(made, Rule)  # noqa: S101 - column_problems came first
        values[column.name] = made.value
        refusals += made.refusals
    kept = [one for one in refusals if lenient and one.is_outside]
    return values, [one for one in refusals if one not in kept], kept


def _any(refusals: Sequence[Refusal]) -> str:
    return " OR ".join(f"coalesce({one.condition}, false)" for one in refusals) or "false"


def _met(refusals: Sequence[Refusal], said: Callable[[Refusal], str]) -> str:
    """SQL of the list of what is said of each refusal that a row meets."""
    told = ", ".join(f"CASE WHEN {one.condition} THEN {said(one)} END" for one in refusals)
    return f"list_filter([{told}], lambda one: one IS NOT NULL)"


def _outside(kept: Sequence[Refusal]) -> str:
    if not kept:
        return "CAST(NULL AS VARCHAR[])"
    return f"CASE WHEN {_any(kept)} THEN {_met(kept, lambda one: literal(one.kind))} END"


def _place(source: Source) -> str:
    return f"{source.file} AS {quoted(FILE)}, {source.line} AS {quoted(LINE)}"


def sorted_rows(table: Table, sources: Sequence[Source], *, lenient: bool = False) -> str:
    """The whole query of a load: bad rows first, then the good ones in the order of the table's files.

    Of an object's rows the last one of its key is taken.
    """
    names = ", ".join([*(quoted(column.name) for column in table.columns), *([OUTSIDE] if lenient else [])])
    rows = " UNION ALL ".join(checked(table, source, lenient=lenient) for source in sources)
    keys = ", ".join(quoted(name) for name in sort_keys(table))
    if table.time is not None:
        day = f"CAST({quoted(table.time)} AS DATE)"
        return (
            f"SELECT {names}, {REJECT}, {day} AS {DAY} FROM ({rows}) "  # noqa: S608 - names are our tables' own
            f"ORDER BY {REJECT} IS NULL, {DAY}, {keys}"
        )
    return (
        f"SELECT {names}, {REJECT}, NULL AS {DAY} FROM ({rows}) "  # noqa: S608 - names are our tables' own
        f"QUALIFY {REJECT} IS NOT NULL OR row_number() OVER ("
        f"PARTITION BY {REJECT} IS NULL, {keys} ORDER BY {quoted(FILE)} DESC, {quoted(LINE)} DESC) = 1 "
        f"ORDER BY {REJECT} IS NULL, {keys}"
    )
