"""Preview a load (dry run): convert first rows, check and count all, bad ones by reason."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from threading import Lock
from typing import Any

from reelport.facts.data_files.duckdb_session import open_reading_workspace
from reelport.facts.defaults import MEMORY
from reelport.facts.input.files import InputFile, detect_format
from reelport.facts.input.load_query import (
    FILE,
    LINE,
    OUTSIDE,
    PROBLEMS,
    REJECT,
    RowSource,
    dry_run_sql,
    load_sql,
    sorted_load_sql,
)
from reelport.facts.input.mapping import read_mapping, run_mapping
from reelport.facts.input.progress import ProgressCallback, ProgressMeter
from reelport.facts.input.rejects import LoadTerms, MaxBad
from reelport.facts.input.sources import ReaderFailure, Reading, blame_input, check_columns, make_sources
from reelport.facts.loading.changes import find_days_left_out, format_left_out
from reelport.facts.loading.conflicts import (
    SharedDay,
    Values,
    count_renamed,
    count_replaced_rows,
    describe_shared,
    find_shared_days,
    name_batch,
    read_values,
    refuse_loaded_files,
)
from reelport.facts.loading.load import OutsideRows, check_span
from reelport.facts.log.delta_log import TableVersion, read_newest
from reelport.facts.log.log_entry import DayLeftOut
from reelport.facts.tables import OWNER, Table, find_table
from reelport.sql_quoting import quote_name

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
_NUMBER = re.compile(r"\d[\d,]*")
_DETAIL = re.compile(r"(it is no JSON): .*")
_KINDS = 1_000
_OTHER = "another reason"


@dataclass(frozen=True, slots=True)
class Preview:
    """What a load would do: its first rows converted, as text, and all rows' check.

    `reasons` gives for each of these rows why the load would refuse it, None where it wouldn't. `lines` are the first
    of the `broken` lines, which can't be parsed as rows. `judged` counts all rows. `refusal` is why the batch would
    not be loaded. `already` is true when it is loaded already. `left_out` are the days that the load would skip,
    `shared_days` those on which other batches have rows. `removed` is how many rows a replacement would remove,
    `renamed` how many channels would get another slug. `later_rows` would be of days after today: no report shows them
    until then.
    """

    table: str
    batch: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]
    reasons: tuple[str | None, ...]
    lines: tuple[BrokenLine, ...]
    broken: int
    judged: RowCheck
    refusal: str | None = None
    already: bool = False
    left_out: tuple[DayLeftOut, ...] = ()
    shared_days: tuple[SharedDay, ...] = ()
    removed: int | None = None
    later_rows: int = 0
    renamed: int = 0

    @property
    def owners(self) -> Mapping[str, int]:
        """How many rows of each owner the load would add; empty where it would leave days out."""
        return self.judged.owners if self.rows_to_load and not self.left_out else {}

    @property
    def rows_to_load(self) -> int:
        """How many rows the load would add or merge."""
        return 0 if self.already or self.refusal else self.judged.rows - sum(one.rows for one in self.left_out)


@dataclass(frozen=True, slots=True)
class _PreviewRequest:
    table: Table
    inputs: tuple[InputFile, ...]
    names: tuple[str, ...]
    mapping: str | None
    lenient: bool
    now: datetime | None
    bad: _BrokenLines
    reading: Reading

    def open_sources(self) -> tuple[RowSource, ...]:
        """Make the sources of the rows; the source of a text file can be read only once."""
        if self.mapping is not None:
            return (run_mapping(self.reading, self.inputs, self.mapping, in_order=False),)
        return make_sources(self.reading, self.table, self.inputs)

    def reopen(self, given: tuple[RowSource, ...]) -> tuple[RowSource, ...]:
        """Make the sources again, to read them once more; a mapping's output stays."""
        if self.mapping is not None:
            return given
        self.bad.reset()
        self.reading.meter.restart()
        return self.open_sources()

    def query(
        self, given: Sequence[RowSource], sql: str, tick: Callable[[float], None] = lambda _: None
    ) -> list[tuple[Any, ...]]:
        """Run a query over the sources; BadInput names the file that can't be read."""
        space = self.reading.space
        with self.reading.failure.reraise(), blame_input(space, self.inputs, given):
            return space.run_interruptibly(lambda: space.session.execute(sql).fetchall(), tick)

    def refusal(self, terms: LoadTerms, judged: RowCheck) -> str | None:
        """Say why the batch would not be loaded on these terms; None when it would."""
        read = judged.read if self.mapping is None else judged.rows + judged.rejects
        why = terms.refuse_bad_rows(judged.rows, judged.rejects, read)
        if why is not None:
            return f"{judged.rejects:,} of {read:,} rows can't be taken" + (f" ({why})" if why else "")
        return terms.find_problem(judged.rows, tuple(judged.days), self.names)


def preview(
    root: Path,
    table: str,
    files: Sequence[Path],
    *,
    mapping: Path | None = None,
    strict: bool = False,
    replace: tuple[date, date] | None = None,
    max_bad: MaxBad | None = None,
    lenient: bool = False,
    now: datetime | None = None,
    again: bool = False,
    count: int = 10,
    progress: ProgressCallback | None = None,
    memory: str = MEMORY,
) -> Preview:
    """Preview a load of these files, with its first `count` rows and broken lines.

    Raises what `load` raises, except for bad rows and days: these are reported as `refusal`.
    """
    found = find_table(table)
    check_span(found, replace)
    inputs = detect_format([Path(file) for file in files])
    text = None if mapping is None else read_mapping(mapping)
    named, seen = name_batch(found, text, replace, inputs, again=again), read_newest(root, found)
    batch = named.name
    if found.is_fact and replace is None and not again and not seen.is_loaded(batch):
        refuse_loaded_files(seen, batch, inputs, named.files)
    names = tuple(str(file.path) for file in inputs)
    bad = _BrokenLines(names, count)
    with open_reading_workspace(root, memory) as space:
        reading = Reading(space, bad.add, ReaderFailure(), ProgressMeter(inputs, progress))
        request = _PreviewRequest(found, inputs, names, text, lenient, now, bad, reading)
        space.session.execute("SET preserve_insertion_order = true")
        given = request.open_sources()
        check_columns(found, given, inputs)
        shown = _read_first_rows(request, given, count)
        given = request.reopen(given)
        values: Values = {}
        if found.unique is not None:
            values = _read_values(request, given)
            given = request.reopen(given)
        judged = _check_rows(request, given)
    result = Preview(
        table,
        batch,
        tuple(column.name for column in found.columns),
        tuple(row[:-1] for row in shown),
        tuple(row[-1] for row in shown),
        tuple(bad.first),
        bad.count,
        judged,
        request.refusal(LoadTerms(strict, replace, max_bad), judged),
    )
    if not found.is_fact:
        return _compare_values(result, seen, values)
    if replace is None:
        result = _compare_with_table(result, seen)
    elif not result.refusal:
        result = dataclasses.replace(result, removed=count_replaced_rows(seen, replace))
    if now is None or not result.rows_to_load:
        return result
    later = {day for day in judged.days if day > now.date()}.difference(one.day for one in result.left_out)
    return dataclasses.replace(result, later_rows=sum(judged.days[day] for day in later))


def _read_values(request: _PreviewRequest, given: Sequence[RowSource]) -> Values:
    """Read the unique values of all good rows; of those with the same key, the last one's."""
    names = f"{quote_name(request.table.key or '')}, {quote_name(request.table.unique or '')}"
    rows = sorted_load_sql(request.table, given, lenient=request.lenient)
    return dict(request.query(given, f"SELECT {names} FROM ({rows}) WHERE {REJECT} IS NULL"))  # noqa: S608 - our tables' own names


def _compare_values(result: Preview, now: TableVersion, values: Values) -> Preview:
    if result.refusal or not values:
        return result
    known = read_values(now.table, now.paths(now.files))
    shared = describe_shared(now.table, known, values)
    return dataclasses.replace(result, refusal=shared, renamed=0 if shared else count_renamed(known, values))


def _compare_with_table(result: Preview, now: TableVersion) -> Preview:
    """Add to the preview: whether the batch is loaded, and the days it would skip."""
    left_out = find_days_left_out(now, result.batch, result.judged.days)
    refusal = result.refusal
    if left_out and len(left_out) == len(result.judged.days):
        refusal = refusal or format_left_out(left_out)
    already, skipped = now.is_loaded(result.batch), {one.day for one in left_out}
    rows = {} if already or refusal else {day: n for day, n in result.judged.days.items() if day not in skipped}
    shared = find_shared_days(now, rows)
    return dataclasses.replace(result, refusal=refusal, already=already, left_out=left_out, shared_days=shared)


def _read_first_rows(request: _PreviewRequest, given: Sequence[RowSource], count: int) -> list[tuple[str | None, ...]]:
    texts = ", ".join(f"CAST({quote_name(column.name)} AS VARCHAR)" for column in request.table.columns)
    rows = " UNION ALL ".join(
        load_sql(request.table, source, lenient=request.lenient, now=request.now) for source in given
    )
    return request.query(given, f"SELECT {texts}, {REJECT}.reason FROM ({rows}) LIMIT {count:d}")  # noqa: S608 - our tables' own names


@dataclass(frozen=True, slots=True)
class Reason:
    """Why rows are refused: how many; place and message of the first; `file` if it is known."""

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


def _check_rows(request: _PreviewRequest, given: Sequence[RowSource]) -> RowCheck:
    table, bad = request.table, request.bad
    name = quote_name(table.time or table.key or "")
    sql = _COUNTED.format(
        owner=f"CASE WHEN {PROBLEMS} IS NULL THEN {quote_name(OWNER)} END",
        day=f"CASE WHEN {PROBLEMS} IS NULL THEN CAST({name} AS DATE) END" if table.is_fact else "NULL",
        key="NULL" if table.is_fact else name,
        problems=PROBLEMS,
        outside=OUTSIDE,
        file=quote_name(FILE),
        line=quote_name(LINE),
        apart=_FILES_APART,
        rows=" UNION ALL ".join(
            dry_run_sql(table, source, lenient=request.lenient, now=request.now) for source in given
        ),
    )
    found = request.query(given, sql, request.reading.meter.report_engine_share)
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
    lines = [Reason(kind, count, line.reason, line.file, line.line) for kind, (count, line) in bad.kinds.items()]
    reasons = (*_collect_reasons(groups, request.names), *lines)
    return RowCheck(
        read + bad.count,
        rows,
        rejects,
        dict(sorted(days.items())),
        tuple(sorted(reasons, key=lambda one: -one.rows)),
        tuple(OutsideRows(reason, count) for reason, count in sorted(outside.items())),
        owners,
    )


def _collect_reasons(groups: Sequence[Sequence[Any]], names: Sequence[str]) -> Iterator[Reason]:
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


@dataclass(frozen=True, slots=True)
class BrokenLine:
    """A line that can't be parsed as a row: its file, its number from 1, and the reason."""

    file: str
    line: int
    reason: str


class _BrokenLines:
    """Counts broken lines by reason, keeps the first `most`. Thread-safe, for DuckDB's threads."""

    def __init__(self, names: Sequence[str], most: int) -> None:
        self.first: list[BrokenLine] = []
        self.count = 0
        self.kinds: dict[str, tuple[int, BrokenLine]] = {}
        self._names = names
        self._most = most
        self._lock = Lock()

    def reset(self) -> None:
        """Start counting again, because the files are read again."""
        with self._lock:
            self.first, self.count, self.kinds = [], 0, {}

    def add(self, file: int, line: int, reason: str, _raw: str) -> None:
        """Add a broken line of the file with this number, from 0."""
        broken = BrokenLine(self._names[file], line, reason)
        kind = _NUMBER.sub("N", _DETAIL.sub(r"\1", reason))
        with self._lock:
            self.count += 1
            if len(self.first) < self._most:
                self.first.append(broken)
            kind = kind if kind in self.kinds or len(self.kinds) < _KINDS else _OTHER
            count, first = self.kinds.get(kind, (0, broken))
            self.kinds[kind] = count + 1, first
