"""Preview a load (dry run): convert first rows, check and count all, bad ones by reason."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from threading import Lock

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from reelport.facts.data_files.duckdb_session import Workspace, open_reading_workspace
from reelport.facts.data_files.sorted_files import ROW_GROUP
from reelport.facts.defaults import MEMORY
from reelport.facts.input.files import ProgressCallback, ProgressMeter
from reelport.facts.input.rejects import LoadTerms, MaxBad
from reelport.facts.input.sources import ReaderFailure, Reading, blame_input
from reelport.facts.loading.conflicts import (
    SharedDay,
    Values,
    count_renamed,
    count_replaced_rows,
    describe_shared,
    find_shared_days,
    read_values,
)
from reelport.facts.loading.load import OutsideRows, add_counts, find_days_left_out, format_left_out, recognize_files
from reelport.facts.log.delta_log import TableVersion
from reelport.facts.log.log_entry import DayLeftOut
from reelport.facts.row_rules import OUTSIDE, REJECT, join_reasons, load_sql
from reelport.facts.tables import OWNER, Table, stored_names
from reelport.sql_quoting import quote_name

_NUMBER = re.compile(r"\d[\d,]*")
_DETAIL = re.compile(r"(it is no JSON): .*")
_KINDS = 1_000
_OTHER = "another reason"
_FIRST = "_reelport_first"
PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Preview:
    """What a load would do: its first rows converted, as text, and all rows' check.

    The cell PROBLEM of a row is why the load would refuse it, None where it wouldn't. `lines` are the first of the
    `broken` lines, which can't be parsed as rows. `judged` counts all rows. `refusal` is why the batch would not be
    loaded. `already` is true when it is loaded already. `left_out` are the days that the load would skip,
    `shared_days` those on which other batches have rows. `removed` is how many rows a replacement would remove,
    `renamed` how many channels would get another slug. `later_rows` would be of days after today: no report shows them
    until then.
    """

    table: str
    batch: str
    rows: tuple[Mapping[str, str | None], ...]
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


@dataclass(frozen=True, slots=True)
class BrokenLine:
    """A line that can't be parsed as a row: its file, its number from 1, and the reason."""

    file: str
    line: int
    reason: str


class _RowChecker:
    """Counts rows and broken lines, and keeps the first `most` of each.

    Of good rows of objects it keeps their columns `key`, `unique` and owner, which are few. Rows come in their order,
    broken lines from DuckDB's threads.
    """

    def __init__(self, table: Table, names: Sequence[str], most: int) -> None:
        self.first: list[pa.Table] = []
        self.lines: list[BrokenLine] = []
        self.broken = 0
        self._table = table
        self._names = names
        self._most = most
        self._read = self._rejects = 0
        self._days: Counter[date] = Counter()
        self._owners: Counter[str] = Counter()
        self._outside: Counter[str] = Counter()
        self._objects: list[pa.Table] = []
        self._kept = [name for name in (table.key, table.unique, OWNER) if name in stored_names(table)]
        self._reasons: dict[str, Reason] = {}
        self._lock = Lock()

    def add_broken_line(self, file: int, line: int, reason: str, _raw: str) -> None:
        """Add a broken line of the file with this number, from 0."""
        kind = _NUMBER.sub("N", _DETAIL.sub(r"\1", reason))
        with self._lock:
            self.broken += 1
            if len(self.lines) < self._most:
                self.lines.append(BrokenLine(self._names[file], line, reason))
            kind = kind if kind in self._reasons or len(self._reasons) < _KINDS else _OTHER
            self._add_reason(kind, reason, file, line)

    def check(self, found: duckdb.DuckDBPyRelation) -> None:
        """Check the rows of a query. Raises DuckDB's errors."""
        try:
            for batch in found.to_arrow_reader(ROW_GROUP):
                self._add_rows(pa.Table.from_batches([batch]))
        except OSError as error:  # as Arrow tells an error of DuckDB's after the first rows
            kind = duckdb.OutOfMemoryException if "Out of Memory" in str(error) else duckdb.InvalidInputException
            raise kind(str(error)) from error

    def _add_rows(self, rows: pa.Table) -> None:
        if self._read < self._most:
            self.first.append(rows.slice(0, self._most - self._read))
        self._read += rows.num_rows
        refused = rows.column(REJECT).drop_null()
        self._rejects += len(refused)
        for row in refused.to_pylist():
            for problem in filter(None, row["problems"]):
                self._add_reason(problem["kind"], problem["reason"], row["file"], row["line"])
        self._add_good_rows(rows.filter(pc.is_null(rows.column(REJECT))) if len(refused) else rows)

    def _add_good_rows(self, rows: pa.Table) -> None:
        if OUTSIDE in rows.column_names:
            add_counts(self._outside, pc.list_flatten(rows.column(OUTSIDE)))
        if self._table.time is None:
            self._objects.append(rows.select(self._kept))
            return
        add_counts(self._days, rows.column(self._table.time).cast(pa.date32(), safe=False))
        add_counts(self._owners, rows.column(OWNER))

    def _add_reason(self, kind: str, example: str, file: int | None, line: int) -> None:
        """Count a reason; the first row that has it comes first by file, then by line."""
        known = self._reasons.get(kind)
        name = None if file is None else self._names[file]
        if known is None:
            self._reasons[kind] = Reason(kind, 1, example, name, line)
            return
        is_first = self._place(name, line) < self._place(known.file, known.line)
        first = Reason(kind, 0, example, name, line) if is_first else known
        self._reasons[kind] = dataclasses.replace(first, rows=known.rows + 1)

    def _place(self, file: str | None, line: int) -> tuple[int, int]:
        return 0 if file is None else self._names.index(file), line

    def finish(self) -> RowCheck:
        rows, owners = self._days.total(), self._owners
        if self._objects:
            objects = pa.concat_tables(self._objects)
            rows = pc.count_distinct(objects.column(self._table.key)).as_py()
            if OWNER in self._kept:
                counted = objects.group_by(OWNER).aggregate([(self._table.key, "count_distinct")])
                owners = Counter(dict(zip(*(column.to_pylist() for column in counted.columns), strict=True)))
        return RowCheck(
            self._read + self.broken,
            rows,
            self._rejects + self.broken,
            dict(sorted(self._days.items())),
            tuple(sorted(self._reasons.values(), key=lambda one: -one.rows)),
            tuple(OutsideRows(kind, count) for kind, count in sorted(self._outside.items())),
            owners,
        )

    def list_values(self) -> Values:
        """List the unique values of all good rows; of those with the same key, the last one's."""
        if self._table.unique is None:
            return {}
        columns = [(rows.column(self._table.key), rows.column(self._table.unique)) for rows in self._objects]
        return {key: value for pair in columns for key, value in zip(*(one.to_pylist() for one in pair), strict=True)}


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
    given = recognize_files(root, table, files, mapping, replace, again=again)
    found, seen, batch = given.table, given.seen, given.named.name
    if not seen.is_loaded(batch):
        given.refuse_loaded(seen)
    checker, terms = _RowChecker(found, given.names, count), LoadTerms(strict, replace, max_bad)
    with open_reading_workspace(root, memory) as space:
        reading = Reading(space, checker.add_broken_line, ReaderFailure(), ProgressMeter(given.files, progress))
        space.session.execute("SET preserve_insertion_order = true")
        sources = given.make_sources(reading, in_order=False)
        with reading.failure.reraise(), blame_input(space, given.files, sources):
            rows = load_sql(found, sources, lenient=lenient, now=now)
            space.run_interruptibly(lambda: checker.check(space.session.sql(rows)), reading.meter.report_engine_share)
        shown = _cast_to_texts(space, found, checker.first)
    judged, values = checker.finish(), checker.list_values()
    read = judged.read if given.mapping is None else judged.rows + judged.rejects
    result = Preview(
        table,
        batch,
        tuple(shown),
        tuple(checker.lines),
        checker.broken,
        judged,
        _describe_refusal(terms, judged, read, given.names),
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


def _cast_to_texts(space: Workspace, table: Table, rows: list[pa.Table]) -> list[dict[str, str | None]]:
    """Cast the columns of rows to texts, and add why the load would refuse a row."""
    if not rows:
        return []
    names = [column.name for column in table.columns]
    texts = ", ".join(f"CAST({quote_name(name)} AS VARCHAR)" for name in names)
    space.session.register(_FIRST, pa.concat_tables(rows).drop_columns([REJECT]))
    found = space.session.execute(f"SELECT {texts} FROM {_FIRST}").fetchall()  # noqa: S608 - our tables' own names
    rejects = [reject for part in rows for reject in part.column(REJECT).to_pylist()]
    return [
        dict(zip(names, row, strict=True)) | {PROBLEM: reject and join_reasons(reject)}
        for row, reject in zip(found, rejects, strict=True)
    ]


def _describe_refusal(terms: LoadTerms, judged: RowCheck, read: int, names: Sequence[str]) -> str | None:
    """Say why the batch would not be loaded on these terms; None when it would."""
    why = terms.refuse_bad_rows(judged.rows, judged.rejects, read)
    if why is not None:
        return f"{judged.rejects:,} of {read:,} rows can't be taken" + (f" ({why})" if why else "")
    return terms.find_problem(judged.rows, tuple(judged.days), names)


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
