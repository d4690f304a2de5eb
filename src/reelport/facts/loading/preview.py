"""Preview a load (dry run): convert first rows, check and count all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from reelport.facts.data_files.duckdb_session import Workspace, open_reading_workspace
from reelport.facts.defaults import MEMORY
from reelport.facts.input.broken_lines import BrokenLine, BrokenLines
from reelport.facts.input.dry_run import RowCheck, check_rows
from reelport.facts.input.files import InputFile, detect_format
from reelport.facts.input.load_query import REJECT, RowSource, load_sql, sorted_load_sql
from reelport.facts.input.mapping import read_mapping, run_mapping
from reelport.facts.input.progress import ProgressCallback, ProgressMeter
from reelport.facts.input.sources import ReaderFailure, blame_input, check_columns, make_sources
from reelport.facts.input.tolerance import LoadTerms, MaxBad
from reelport.facts.loading.changes import find_days_left_out, format_left_out
from reelport.facts.loading.conflicts import (
    SharedDay,
    Values,
    choose_batch,
    count_renamed,
    count_replaced_rows,
    describe_shared,
    find_shared_days,
    read_known_values,
    refuse_loaded_files,
)
from reelport.facts.loading.load import check_span, name_files
from reelport.facts.log.delta_log import TableVersion, read_newest
from reelport.facts.log.history import is_standing
from reelport.facts.log.log_entry import DayLeftOut
from reelport.facts.row_rules import quote_name
from reelport.facts.schema import find_table
from reelport.facts.tables import Table


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
        """How many rows of each owner the load would add or merge.

        Empty where it would leave days out.
        """
        return self.judged.owners if self.rows_to_load and not self.left_out else {}

    @property
    def rows_to_load(self) -> int:
        """How many rows the load would add or merge."""
        return 0 if self.already or self.refusal else self.judged.rows - sum(one.rows for one in self.left_out)


@dataclass(frozen=True, slots=True)
class _PreviewRequest:
    """The arguments of a preview, checked."""

    table: Table
    inputs: tuple[InputFile, ...]
    mapping: str | None
    lenient: bool
    bad: BrokenLines
    failure: ReaderFailure
    meter: ProgressMeter
    now: datetime | None = None

    def sources(self, space: Workspace) -> tuple[RowSource, ...]:
        """Make the sources of the rows; the source of a text file can be read only once."""
        if self.mapping is not None:
            return (
                run_mapping(space, self.inputs, self.mapping, self.bad.add, self.failure, self.meter, in_order=False),
            )
        return make_sources(space, self.table, self.inputs, self.bad.add, self.failure, self.meter)

    @property
    def names(self) -> tuple[str, ...]:
        """The paths of the files, as text."""
        return tuple(str(file.path) for file in self.inputs)

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
    named, seen = name_files(found, text, replace, inputs, again=again), read_newest(root, found)
    batch = choose_batch(seen, named)
    if found.is_fact and replace is None and not again and not is_standing(seen, batch):
        refuse_loaded_files(seen, batch, inputs, named.files)
    bad = BrokenLines(tuple(str(file.path) for file in inputs), count)
    request = _PreviewRequest(found, inputs, text, lenient, bad, ReaderFailure(), ProgressMeter(inputs, progress), now)
    with open_reading_workspace(root, memory) as space:
        shown, judged, values = _examine(space, request, count)
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
    result = _compare_with_table(result, seen) if replace is None else _count_replaced(result, seen, replace)
    return result if now is None else dataclasses.replace(result, later_rows=_count_later(result, now.date()))


def _count_later(result: Preview, today: date) -> int:
    if not result.rows_to_load:
        return 0
    left_out = {one.day for one in result.left_out}
    return sum(rows for day, rows in result.judged.days.items() if day > today and day not in left_out)


def _examine(
    space: Workspace, request: _PreviewRequest, count: int
) -> tuple[list[tuple[str | None, ...]], RowCheck, Values]:
    """Read the first rows and the unique values, then check and count all rows."""
    space.session.execute("SET preserve_insertion_order = true")
    given = request.sources(space)
    check_columns(request.table, given, request.inputs)
    shown = _read_first_rows(space, request, given, count)
    given = _reopen(space, request, given)
    values: Values = {}
    if request.table.unique is not None:
        values = _read_values(space, request, given)
        given = _reopen(space, request, given)
    with request.failure.reraise(), blame_input(space, request.inputs, given):
        judged = check_rows(
            space,
            request.table,
            given,
            request.bad,
            request.names,
            lenient=request.lenient,
            meter=request.meter,
            now=request.now,
        )
    return shown, judged, values


def _reopen(space: Workspace, request: _PreviewRequest, given: tuple[RowSource, ...]) -> tuple[RowSource, ...]:
    """Make the sources again: those of text files can be read only once.

    A mapping's output stays.
    """
    if request.mapping is not None:
        return given
    request.bad.reset()
    request.meter.restart()
    return request.sources(space)


def _read_values(space: Workspace, request: _PreviewRequest, given: Sequence[RowSource]) -> Values:
    """Read the unique values of all good rows; of those with the same key, the last one's."""
    names = f"{quote_name(request.table.key or '')}, {quote_name(request.table.unique or '')}"
    rows = sorted_load_sql(request.table, given, lenient=request.lenient)
    query = f"SELECT {names} FROM ({rows}) WHERE {REJECT} IS NULL"  # noqa: S608 - our tables' own names
    with request.failure.reraise(), blame_input(space, request.inputs, given):
        return dict(space.run_interruptibly(lambda: space.session.execute(query).fetchall()))


def _compare_values(result: Preview, now: TableVersion, values: Values) -> Preview:
    """Add to the preview: values that two objects would share, and how many would get another."""
    if result.refusal or not values:
        return result
    known = read_known_values(now)
    shared = describe_shared(now.table, known, values)
    return dataclasses.replace(result, refusal=shared, renamed=0 if shared else count_renamed(known, values))


def _compare_with_table(result: Preview, now: TableVersion) -> Preview:
    """Add to the preview: whether the batch is loaded, and the days it would skip."""
    left_out = find_days_left_out(now, result.batch, result.judged.days)
    refusal = result.refusal
    if left_out and len(left_out) == len(result.judged.days):
        refusal = refusal or format_left_out(left_out)
    already, skipped = is_standing(now, result.batch), {one.day for one in left_out}
    rows = {} if already or refusal else {day: n for day, n in result.judged.days.items() if day not in skipped}
    shared = find_shared_days(now, rows)
    return dataclasses.replace(result, refusal=refusal, already=already, left_out=left_out, shared_days=shared)


def _count_replaced(result: Preview, now: TableVersion, span: tuple[date, date]) -> Preview:
    """Add to the preview how many rows a replacement of these days would remove."""
    return result if result.refusal else dataclasses.replace(result, removed=count_replaced_rows(now, span))


def _read_first_rows(
    space: Workspace, request: _PreviewRequest, given: Sequence[RowSource], count: int
) -> list[tuple[str | None, ...]]:
    """Read the first rows as texts, each with the reason for its refusal as the last cell."""
    texts = ", ".join(f"CAST({quote_name(column.name)} AS VARCHAR)" for column in request.table.columns)
    rows = " UNION ALL ".join(
        load_sql(request.table, source, lenient=request.lenient, now=request.now) for source in given
    )
    query = f"SELECT {texts}, {REJECT}.reason FROM ({rows}) LIMIT {count:d}"  # noqa: S608 - our tables' own names
    with request.failure.reraise(), blame_input(space, request.inputs, given):
        return space.run_interruptibly(lambda: space.session.execute(query).fetchall())
