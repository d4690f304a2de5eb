"""The query of a load: good rows converted to a table's columns, bad ones with their reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reelport.check import nearest
from reelport.facts.rules import Rule, absent, literal, quoted, rule
from reelport.facts.schema import sort_keys
from reelport.facts.tables import Table

REJECT = "_reject"
"""What is wrong with a row, as a struct of file, line, reason and raw; NULL for a good row."""
DAY = "_day"
FILE = "_reelport_file"
LINE = "_reelport_line"
OUTPUT = "the mapping's output"
"""Where the rows come from that a mapping makes: they are no lines of any file."""
_SOURCE = "src"


@dataclass(frozen=True, slots=True)
class Source:
    """Rows that DuckDB can read: `relation` goes after FROM, `types` are its columns and their SQL types.

    `file` and `line` are SQL for where a row came from: the number of its file, from 0, and its line, from 1.
    The rows of `OUTPUT` have no file, and their number for a line.
    """

    relation: str
    types: Mapping[str, str]
    file: str
    line: str
    named: str


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


def checked(table: Table, source: Source) -> str:
    """A SELECT of the table's columns, converted, and of `REJECT`; for a source without column problems."""
    values: list[str] = []
    refusals: list[tuple[str, str]] = []
    for column in table.columns:
        if column.name not in source.types:
            values.append(f"{absent(column)} AS {quoted(column.name)}")
            continue
        made = rule(column, source.types[column.name], _SOURCE)
        assert isinstance(made, Rule)  # noqa: S101 - column_problems came first
        values.append(f"{made.value} AS {quoted(column.name)}")
        refusals += made.refusals
    bad = " OR ".join(f"coalesce({condition}, false)" for condition, _ in refusals)
    reasons = ", ".join(f"CASE WHEN {condition} THEN {why} END" for condition, why in refusals)
    reason = f"array_to_string(list_filter([{reasons}], lambda one: one IS NOT NULL), '; ')"
    raw = ", ".join(f"{literal(name)}: {_SOURCE}.{quoted(name)}" for name in source.types)
    what = (
        f"struct_pack(file := {source.file}, line := {source.line}, reason := {reason}, "
        f"raw := CAST(to_json({{{raw}}}) AS VARCHAR))"
    )
    place = f"{source.file} AS {quoted(FILE)}, {source.line} AS {quoted(LINE)}"
    return (
        f"SELECT {', '.join(values)}, {place}, CASE WHEN {bad} THEN {what} END AS {REJECT} "  # noqa: S608 - names are quoted
        f"FROM {source.relation} AS {_SOURCE}"
    )


def sorted_rows(table: Table, sources: Sequence[Source]) -> str:
    """The whole query of a load: bad rows first, then the good ones in the order of the table's files.

    Of an object's rows the last one of its key is taken.
    """
    names = ", ".join(quoted(column.name) for column in table.columns)
    rows = " UNION ALL ".join(checked(table, source) for source in sources)
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
