"""Check all rows of a load for a dry run: count good rows, and bad ones by reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from reelport.facts.data_files.duckdb_session import Workspace
from reelport.facts.input.broken_lines import BrokenLines
from reelport.facts.input.load_query import FILE, LINE, OUTSIDE, PROBLEMS, RowSource, dry_run_sql
from reelport.facts.input.progress import ProgressMeter
from reelport.facts.input.row_writer import OutsideRows
from reelport.facts.row_rules import quote_name
from reelport.facts.schema import OWNER
from reelport.facts.tables import Table

_FILES_APART = 1 << 40
"""More than the lines of any file, so that file * this + line orders rows by file, then line."""
_COUNTED = """
SELECT
    owner, day, kinds, outside, count(*) AS rows, count(DISTINCT key) AS keys,
    arg_min({{'file': file, 'line': line, 'problems': problems}}, place) FILTER (WHERE problems IS NOT NULL) AS first
FROM (
    SELECT
        {owner} AS owner, {day} AS day, {key} AS key, {problems} AS problems, {outside} AS outside, {file} AS file,
        {line} AS line, coalesce({file}, 0) * {apart} + {line} AS place,
        list_transform(problems, lambda one: one.kind) AS kinds
    FROM ({rows})
)
GROUP BY GROUPING SETS ((day, kinds, outside), (owner))
HAVING grouping(owner) = 1 OR owner IS NOT NULL
"""
"""Counts rows by day and problems, and those to load by owner: text files can be read only once. A row has one or none
of `owner` and the others."""


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason why rows are refused: how many have it; place and message of the first.

    `file` is None where the row of a mapping's output isn't made of one row of a file.
    """

    reason: str
    rows: int
    example: str
    file: str | None
    line: int


@dataclass(frozen=True, slots=True)
class RowCheck:
    """The counts of a check: rows read, rows to load, and why others are refused.

    Those to load are counted by day and by owner, too. Of object rows with the same key, one counts. A row may have
    several reasons; the most frequent comes first.
    """

    read: int
    rows: int
    rejects: int
    days: Mapping[date, int]
    reasons: tuple[Reason, ...]
    outside: tuple[OutsideRows, ...]
    owners: Mapping[str, int]


def check_rows(
    space: Workspace,
    table: Table,
    given: Sequence[RowSource],
    bad: BrokenLines,
    names: Sequence[str],
    *,
    lenient: bool,
    meter: ProgressMeter,
    now: datetime | None = None,
) -> RowCheck:
    """Read the sources to their end and count; `bad` counts lines that are no rows."""
    query = _counting_sql(table, given, lenient=lenient, now=now)
    found = space.run_interruptibly(lambda: space.session.execute(query).fetchall(), meter.report_engine_share)
    groups = [group for owner, *group in found if owner is None]
    owners = {owner: rows if table.is_fact else keys for owner, *_, rows, keys, _ in found if owner is not None}
    days: Counter[date] = Counter()
    outside: Counter[str] = Counter()
    read = rows = 0
    for day, kinds, beyond, count, keys, _ in groups:
        read += count
        if kinds is not None:
            continue
        rows += count if table.is_fact else keys
        days.update({day: count} if table.is_fact else {})
        outside.update(dict.fromkeys(beyond or (), count))
    rejects = sum(group[3] for group in groups if group[1] is not None) + bad.count
    reasons = (*_collect_reasons(groups, names), *_broken_line_reasons(bad))
    return RowCheck(
        read + bad.count,
        rows,
        rejects,
        dict(sorted(days.items())),
        tuple(sorted(reasons, key=lambda one: -one.rows)),
        tuple(OutsideRows(reason, count) for reason, count in sorted(outside.items())),
        owners,
    )


def _counting_sql(table: Table, given: Sequence[RowSource], *, lenient: bool, now: datetime | None) -> str:
    name = quote_name(table.time or table.key or "")
    return _COUNTED.format(
        owner=f"CASE WHEN {PROBLEMS} IS NULL THEN {quote_name(OWNER)} END",
        day=f"CASE WHEN {PROBLEMS} IS NULL THEN CAST({name} AS DATE) END" if table.is_fact else "NULL",
        key="NULL" if table.is_fact else name,
        problems=PROBLEMS,
        outside=OUTSIDE,
        file=quote_name(FILE),
        line=quote_name(LINE),
        apart=_FILES_APART,
        rows=" UNION ALL ".join(dry_run_sql(table, source, lenient=lenient, now=now) for source in given),
    )


def _collect_reasons(groups: Sequence[Sequence[Any]], names: Sequence[str]) -> Iterator[Reason]:
    """Collect the reasons, each with the first row that has it."""
    counts: Counter[str] = Counter()
    first: dict[str, tuple[int, int, dict[str, Any], str]] = {}
    for *_, kinds, _, count, _, example in groups:
        counts.update(dict.fromkeys(kinds or (), count))
        for problem in example["problems"] if kinds else ():
            place = (example["file"] or 0, example["line"], example, problem["reason"])
            if problem["kind"] not in first or place[:2] < first[problem["kind"]][:2]:
                first[problem["kind"]] = place
    for kind, count in counts.items():
        _, line, example, reason = first[kind]
        file = example["file"]
        yield Reason(kind, count, reason, None if file is None else names[file], line)


def _broken_line_reasons(bad: BrokenLines) -> Iterator[Reason]:
    for kind, (count, line) in bad.kinds.items():
        yield Reason(kind, count, line.reason, line.file, line.line)
