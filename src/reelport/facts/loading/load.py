"""Load files or Arrow rows into a table: sorted and durable, in one commit, once per batch.

A prepared load is added once, replaces days, or is merged by key: each way is safe while other processes commit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile
from typing import TypeVar

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from reelport.errors import BadInput, UsageError
from reelport.facts.data_files.duckdb_session import Workspace, open_workspace, parquet_source
from reelport.facts.data_files.projection import in_days, project_sql, select_no_rows_sql
from reelport.facts.data_files.rewriting import rewrite_file
from reelport.facts.data_files.sorted_files import ROW_GROUP, StagedFiles
from reelport.facts.data_files.work_folders import claim_file
from reelport.facts.defaults import MEMORY
from reelport.facts.input.files import InputFile, ProgressCallback, ProgressMeter, check_unchanged, detect_format
from reelport.facts.input.mapping import read_mapping, run_mapping
from reelport.facts.input.rejects import (
    LoadTerms,
    MaxBad,
    RejectCap,
    Rejects,
    check_rejects_path,
    find_kept_rejects,
    name_rejects,
    refuse_reject_files,
)
from reelport.facts.input.sources import (
    ArrowRows,
    ReaderFailure,
    Reading,
    blame_input,
    check_columns,
    make_arrow_rows_source,
    make_sources,
)
from reelport.facts.loading.conflicts import (
    BatchName,
    SharedDay,
    count_renamed,
    describe_shared,
    find_shared_days,
    name_batch,
    read_values,
    refuse_loaded_files,
)
from reelport.facts.log.commits import Change, commit
from reelport.facts.log.delta_log import TableVersion, read_newest, require_intact
from reelport.facts.log.history import find_superseded_days, read_history, restate
from reelport.facts.log.log_entry import DataFile, DayLeftOut, LogEntry, Span
from reelport.facts.row_rules import DAY, OUTSIDE, REJECT, RowSource, join_reasons, sorted_load_sql
from reelport.facts.tables import OWNER, Table, find_table
from reelport.sql_quoting import quote_name
from reelport.wording import format_count

T = TypeVar("T")
Total = Callable[[], int | None]
"""Returns how many rows were read, good and bad, once all are read; None if only DuckDB could know."""


@dataclass(frozen=True, slots=True)
class OutsideRows:
    """Rows kept by a lenient load with a text outside a list: which list, how many."""

    reason: str
    rows: int


@dataclass(frozen=True, slots=True)
class LoadResult:
    """A load's result. `already`: nothing changed, for the batch is loaded already.

    `rejects` are then those of the load that loaded it. `rejects_kept` is how many of the bad rows the reject file
    holds, up to its limit. `left_out` are days of the files that the load skipped, because they were replaced since
    the batch was first loaded. `outside` counts rows that a lenient load kept
    although a text is not in its column's list. `shared_days` had rows of other batches already. `removed` is how
    many rows a replacement removed, None for any other load. `later_rows` are of days after the load's own: no report
    shows them until then. `renamed` is how many channels got another slug.
    """

    table: str
    batch: str
    rows: int = 0
    rejects: int = 0
    rejects_kept: int = 0
    rejects_file: Path | None = None
    days: tuple[date, ...] = ()
    version: int | None = None
    already: bool = False
    left_out: tuple[DayLeftOut, ...] = ()
    outside: tuple[OutsideRows, ...] = ()
    shared_days: tuple[SharedDay, ...] = ()
    removed: int | None = None
    later_rows: int = 0
    renamed: int = 0


@dataclass(frozen=True, slots=True)
class GivenFiles:
    """The files of a load, recognized and named. `seen` is the version of the table then."""

    table: Table
    files: tuple[InputFile, ...]
    mapping: str | None
    named: BatchName
    seen: TableVersion
    counts_once: bool
    """Whether rows of a file that another load has may not be added."""

    @property
    def names(self) -> tuple[str, ...]:
        """The paths of the files, as they were given."""
        return tuple(str(file.path) for file in self.files)

    def refuse_loaded(self, now: TableVersion) -> None:
        """Raise BadInput where another load of this version of the table has one of the files."""
        if self.counts_once:
            refuse_loaded_files(now, self.named.name, self.files, self.named.files)

    def make_sources(self, reading: Reading, *, in_order: bool) -> tuple[RowSource, ...]:
        """Make the files readable, by the mapping if there is one; BadInput for wrong columns."""
        if self.mapping is None:
            sources = make_sources(reading, self.table, self.files)
        else:
            sources = (run_mapping(reading, self.files, self.mapping, in_order=in_order),)
        check_columns(self.table, sources, self.files)
        return sources


def recognize_files(
    root: Path, table: str, files: Sequence[Path], mapping: Path | None, span: Span | None, *, again: bool
) -> GivenFiles:
    """Recognize and name the files of a load. Raises BadInput or UsageError, as `load` does."""
    found = find_table(table)
    check_span(found, span)
    inputs = detect_format([Path(file) for file in files])
    text = None if mapping is None else read_mapping(mapping)
    named = name_batch(found, text, span, inputs, again=again)
    return GivenFiles(found, inputs, text, named, read_newest(root, found), found.is_fact and not span and not again)


@dataclass(frozen=True, slots=True)
class _LoadRequest:
    """The arguments of a load, checked, and the version of its table when it began."""

    root: Path
    table: Table
    batch: str
    since: int
    names: tuple[str, ...]
    terms: LoadTerms
    memory: str = MEMORY
    lenient: bool = False
    owners: Counter[str] | None = None
    now: datetime | None = None
    given: GivenFiles | None = None


class _RowWriter:
    def __init__(
        self, request: _LoadRequest, staged: StagedFiles, bad: Rejects, meter: ProgressMeter, total: Total
    ) -> None:
        self.rows = 0
        self.days: list[date] = []
        self.outside: Counter[str] = Counter()
        self._request = request
        self._staged = staged
        self._bad = bad
        self._meter = meter
        self._total = total

    def write(self, found: duckdb.DuckDBPyRelation) -> None:
        """Write a query's good rows; bad ones come first, so that too many end the load early."""
        for batch in found.to_arrow_reader(ROW_GROUP):
            part = pa.Table.from_batches([batch])
            refused = part.num_rows - part.column(REJECT).null_count
            for row in part.column(REJECT).slice(0, refused).to_pylist():
                self._bad.add_row(row["file"], row["line"], join_reasons(row), row["raw"])
            part = part.slice(refused)
            if part.num_rows:
                self._write_good_rows(part)

    def _write_good_rows(self, part: pa.Table) -> None:
        read = self._total()
        if not self.rows and read is not None:
            self._bad.check(part.num_rows, read)
        if OUTSIDE in part.column_names:
            add_counts(self.outside, pc.list_flatten(part.column(OUTSIDE)))
        if self._request.owners is not None and OWNER in part.column_names:
            add_counts(self._request.owners, part.column(OWNER))
        kept = part.select([name for name in part.column_names if name not in {REJECT, OUTSIDE}])
        if self._request.table.is_fact:
            runs, start = pc.run_end_encode(kept.column(DAY).combine_chunks()), 0
            for day, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
                self._staged.write_day(day, self._request.batch, kept.slice(start, end - start).drop_columns([DAY]))
                start = end
                if not self.days or self.days[-1] != day:
                    self.days.append(day)
        else:
            self._staged.write("rows", None, kept.drop_columns([DAY]))
        self.rows += part.num_rows
        self._meter.report_written(self.rows, None if read is None else read - self._bad.count)


def add_counts(counter: Counter[T], values: pa.ChunkedArray) -> None:
    """Count the values of a column, but for NULLs."""
    for one in pc.value_counts(values.drop_null().combine_chunks()).to_pylist():
        counter[one["values"]] += one["counts"]


def load(
    root: Path,
    table: str,
    files: Sequence[Path],
    *,
    mapping: Path | None = None,
    strict: bool = False,
    replace: tuple[date, date] | None = None,
    rejects: Path | None = None,
    max_bad: MaxBad | None = None,
    cap: RejectCap | None = None,
    lenient: bool = False,
    again: bool = False,
    owners: Counter[str] | None = None,
    now: datetime | None = None,
    progress: ProgressCallback | None = None,
    memory: str = MEMORY,
    threads: int | None = None,
) -> LoadResult:
    """Load files into a table.

    Bad rows go to the reject file, which holds as many as `cap` allows. With `strict` or `replace` a single bad row
    refuses the batch; more than `max_bad` of them always do. `replace` deletes the rows of these days (both included)
    before it adds those of the files. `lenient` keeps texts outside their column's list where no number depends on the
    list. Files of facts that another load had, or that are given twice, are refused, unless `again`. `owners`, when
    given, counts the rows of each owner channel. Facts too far ahead of `now`, when given, are bad rows. Raises
    BadInput, UsageError or StorageError; the table is unchanged.
    """
    given = recognize_files(root, table, files, mapping, replace, again=again)
    found, seen, batch, names = given.table, given.seen, given.named.name, given.names
    into = _find_rejects_path(rejects, root, batch, given.files, mapping)
    if found.is_fact and replace is None and seen.is_loaded(batch):
        return _find_loaded(seen, batch, strict=strict)
    given.refuse_loaded(seen)
    terms = LoadTerms(strict, replace, max_bad)
    request = _LoadRequest(root, found, batch, seen.version, names, terms, memory, lenient, owners, now, given)
    with open_workspace(root, memory, threads) as space:
        bad = Rejects(into, names, terms, cap, partial(claim_file, space.folder))
        reading = Reading(space, bad.add_broken_line, ReaderFailure(), ProgressMeter(given.files, progress))
        try:
            # Of object rows with the same key, the last one is kept.
            return _load_sources(request, reading, given.make_sources(reading, in_order=not found.is_fact), bad)
        finally:
            bad.discard()


def load_arrow(
    root: Path,
    table: str,
    rows: ArrowRows,
    batch: str,
    *,
    replace: tuple[date, date] | None = None,
    lenient: bool = False,
    memory: str = MEMORY,
) -> LoadResult:
    """Load Arrow rows with the table's required columns at least, as the named batch.

    Loading a batch of facts that is loaded already changes nothing. One row that breaks the
    table's rules refuses the whole batch with BadInput; `lenient` as in `load`.
    """
    found = find_table(table)
    check_span(found, replace)
    if not batch:
        raise UsageError("a batch needs a name")
    now, terms = read_newest(root, found), LoadTerms(strict=True, span=replace)
    request = _LoadRequest(root, found, batch, now.version, (batch,), terms, memory, lenient)
    if found.is_fact and replace is None and now.is_loaded(batch):
        return LoadResult(table, batch, already=True)
    with open_workspace(root, memory) as space:
        bad = Rejects(None, (batch,), terms)
        reading = Reading(space, bad.add_broken_line, ReaderFailure(), ProgressMeter((), None))
        sources = (make_arrow_rows_source(space, rows, batch),)
        check_columns(found, sources, ())
        return _load_sources(request, reading, sources, bad)


def check_span(table: Table, span: tuple[date, date] | None) -> None:
    """Raise UsageError if these days of the table can't be replaced."""
    if span is None:
        return
    if not table.is_fact:
        raise UsageError(f"{table.name} has no days to replace: its rows are replaced by {table.key}")
    if span[0] > span[1]:
        raise UsageError(f"the days to replace are reversed: {span[0]} is after {span[1]}")


def _find_rejects_path(
    given: Path | None, root: Path, batch: str, files: Sequence[InputFile], mapping: Path | None
) -> Path:
    """Find the reject file's path. UsageError where it or a reject file is among the inputs."""
    paths = [file.path for file in files]
    if mapping is None:
        refuse_reject_files(paths)
    path = given or _choose_rejects_path(root, batch, files[0].path.absolute())
    check_rejects_path(path, root, paths if mapping is None else [*paths, mapping])
    return path


def _choose_rejects_path(root: Path, batch: str, beside: Path) -> Path:
    try:
        with TemporaryFile(dir=beside.parent):
            pass
    except OSError:
        return find_kept_rejects(root, batch)
    return beside.with_name(name_rejects(beside.name, batch))


def _load_sources(request: _LoadRequest, reading: Reading, found: Sequence[RowSource], bad: Rejects) -> LoadResult:
    space, meter, table = reading.space, reading.meter, request.table
    inputs = () if request.given is None else request.given.files
    is_mapped = request.given is not None and request.given.mapping is not None

    def total() -> int | None:
        return meter.rows + bad.lines + meter.stored if inputs and not is_mapped else None

    with ExitStack() as stack:
        staged = stack.enter_context(StagedFiles(request.root / table.name, table, request.since, space.folder))
        writer = _RowWriter(request, staged, bad, meter, total)
        with reading.failure.reraise(), blame_input(space, inputs, found):
            query = sorted_load_sql(table, found, lenient=request.lenient, now=request.now)
            space.run_interruptibly(lambda: writer.write(space.session.sql(query)), meter.report_engine_share)
        check_unchanged(inputs)
        bad.check(writer.rows, total() or writer.rows + bad.count)
        if (problem := request.terms.find_problem(writer.rows, writer.days, request.names)) is not None:
            raise BadInput(f"nothing was loaded: {problem}")
        files = staged.finish()
        bad.finish()
        meter.report_committing(writer.rows)
        entry = LogEntry(
            kind="replace" if request.terms.span else "load",
            batch=request.batch,
            rows=writer.rows,
            rejects=bad.count,
            days=tuple(writer.days),
            sources=tuple(Path(name).name for name in request.names),
            span=request.terms.span,
            files=tuple(chain(*request.given.named.files)) if request.given and table.is_fact else (),
        )
        if table.is_fact and entry.span is None:
            done = _apply_addition(request, entry, files)
        else:
            # A mapping has locked its workspace: no other files can be read in it.
            other = stack.enter_context(open_workspace(request.root, request.memory)) if is_mapped else space
            apply = _apply_replacement if table.is_fact else _apply_merge
            done = apply(request, entry, files, other)
        staged.keep(done.files)
    rejects_file = bad.path if bad.kept else None
    result = LoadResult(table.name, request.batch, rejects=bad.count, rejects_kept=bad.kept, rejects_file=rejects_file)
    if done.version is None:
        return replace(result, already=True)
    return replace(
        result,
        rows=done.entry.rows,
        days=done.entry.days,
        version=done.version,
        left_out=done.entry.left_out,
        outside=tuple(OutsideRows(reason, rows) for reason, rows in sorted(writer.outside.items())),
        shared_days=done.shared_days,
        removed=done.removed,
        # Of days after the load's own; none where that isn't known.
        later_rows=sum(file.rows for file in done.files if request.now and file.first_day > request.now.date()),
        renamed=done.renamed,
    )


def _find_loaded(now: TableVersion, batch: str, *, strict: bool) -> LoadResult:
    """Tell of the load of a batch; BadInput for a strict one that rejected rows."""
    rejects = next(load.rejects for load in reversed(read_history(now)) if load.batch == batch and not load.undone)
    if rejects and strict:
        raise BadInput(
            f"batch {batch} is loaded already, without {format_count(rejects, 'row')} that it rejected. To load it "
            f"strictly, first run: reelport load undo {batch}"
        )
    return LoadResult(now.table.name, batch, rejects=rejects, already=True)


_SHOWN = 5
"""The most days that an error message lists."""


@dataclass(frozen=True, slots=True)
class _AppliedLoad:
    """The result of committing a load.

    `version` is the table's new version, None when nothing had to change. `files` are the prepared files that the
    commit uses, `entry` is what it records. `shared_days` had rows of other batches already. `removed` is how many rows
    a replacement removed, None for any other load. `renamed` counts objects that got another unique value.
    """

    version: int | None
    files: tuple[DataFile, ...]
    entry: LogEntry
    shared_days: tuple[SharedDay, ...] = ()
    removed: int | None = None
    renamed: int = 0


def _apply_addition(request: _LoadRequest, entry: LogEntry, files: tuple[DataFile, ...]) -> _AppliedLoad:
    changes: list[tuple[Change, tuple[SharedDay, ...]]] = []

    def propose(now: TableVersion) -> Change | None:
        if now.is_loaded(entry.batch):
            return None
        if request.given is not None and now.version != request.since:
            request.given.refuse_loaded(now)
        change = _leave_out_superseded(now, entry, files)
        changes.append((change, find_shared_days(now, _count_by_day(change.adds))))
        return change

    version = commit(request.root, request.table, propose)
    if version is None:
        return _AppliedLoad(None, (), entry)
    change, shared = changes[-1]
    return _AppliedLoad(version, change.adds, change.entry, shared)


def _count_by_day(files: Sequence[DataFile]) -> Counter[date]:
    rows: Counter[date] = Counter()
    for file in files:
        rows[file.first_day] += file.rows
    return rows


def _leave_out_superseded(now: TableVersion, entry: LogEntry, files: tuple[DataFile, ...]) -> Change:
    """Make the change without files of days replaced since; each file is of one day."""
    left_out = find_days_left_out(now, entry.batch, _count_by_day(files))
    if not left_out:
        return Change(entry, files, loaded=True)
    replaced = {one.day for one in left_out}
    adds = tuple(file for file in files if file.first_day not in replaced)
    if not adds:
        raise BadInput(f"nothing was loaded: {format_left_out(left_out)}")
    days = tuple(day for day in entry.days if day not in replaced)
    kept = replace(entry, rows=sum(file.rows for file in adds), days=days, left_out=left_out)
    return Change(kept, adds, loaded=True)


def find_days_left_out(now: TableVersion, batch: str, rows: Mapping[date, int]) -> tuple[DayLeftOut, ...]:
    """Find a batch's days replaced since it was first loaded; `rows` are its, by day."""
    # Only a batch that was loaded before can have such days. For any other, don't read the whole log.
    known = read_history(now) if now.load_counter(batch) else ()
    replaced = find_superseded_days(known, batch, rows)
    return tuple(DayLeftOut(day, rows[day], replaced[day]) for day in sorted(replaced))


def format_left_out(left_out: Sequence[DayLeftOut]) -> str:
    """Say which days a load skipped, why, and what to do about it."""
    rows = sum(one.rows for one in left_out)
    days = ", ".join(f"{one.day} ({one.rows:,}, replaced by batch {one.replaced_by})" for one in left_out[:_SHOWN])
    more = f" and {format_count(len(left_out) - _SHOWN, 'more day')}" if len(left_out) > _SHOWN else ""
    return (
        f"{format_count(rows, 'row')} left out, as their days were replaced after this batch was first loaded: "
        f"{days}{more}. To have them, load them with --replace-days, or undo the replacement first."
    )


def commit_staged(
    root: Path, table: Table, propose: Callable[[TableVersion, StagedFiles], Change | None], space: Workspace
) -> int | None:
    """Commit a change as `commit` does, for each version of which `propose` writes files anew."""
    with ExitStack() as stack:
        attempts: list[StagedFiles] = []

        def propose_staged(now: TableVersion) -> Change | None:
            attempts.append(stack.enter_context(StagedFiles(now.folder, table, now.version, space.folder)))
            return propose(now, attempts[-1])

        version = commit(root, table, propose_staged)
        if version is not None:
            attempts[-1].keep()
    return version


def _apply_replacement(
    request: _LoadRequest, entry: LogEntry, files: tuple[DataFile, ...], space: Workspace
) -> _AppliedLoad:
    assert entry.span is not None  # noqa: S101 - it is a replacement
    table, span, today = request.table, entry.span, (request.now or datetime.now(UTC)).date()
    removed: list[int] = []

    def propose(now: TableVersion, staged: StagedFiles) -> Change:
        touched = tuple(file for file in now.files if file.touches(*span))
        cut = [file for file in touched if file.first_day < span[0] or file.last_day > span[1]]
        require_intact(now, cut)
        for file in cut:
            rewrite_file(space, staged, now, file, f"NOT {in_days(table, *span)}")
        kept = staged.finish()
        removed.append(sum(file.rows for file in touched) - sum(file.rows for file in kept))
        return Change(replace(entry, restated=restate(now, span, today)), (*files, *kept), touched, loaded=True)

    version = commit_staged(request.root, table, propose, space)
    return _AppliedLoad(version, files, entry, removed=removed[-1])


def _apply_merge(request: _LoadRequest, entry: LogEntry, files: tuple[DataFile, ...], space: Workspace) -> _AppliedLoad:
    table, renamed = request.table, [0]

    def propose(now: TableVersion, staged: StagedFiles) -> Change | None:
        require_intact(now, now.files)  # before they are read: it may fetch them again
        new, old = now.paths(files), now.paths(now.files)
        if old and not count_missing(table, new, old, space):
            return None
        known, given = read_values(table, old), read_values(table, new)
        if (shared := describe_shared(table, known, given)) is not None:
            raise BadInput(f"nothing was loaded: {shared}")
        renamed.append(count_renamed(known, given))
        for batch in space.session.sql(_merge_sql(table, new, old)).to_arrow_reader(ROW_GROUP):
            staged.write("rows", None, pa.Table.from_batches([batch]))
        return Change(entry, staged.finish(), now.files, loaded=True)

    version = commit_staged(request.root, table, propose, space)
    return _AppliedLoad(version, (), entry, renamed=renamed[-1])


def count_missing(table: Table, these: list[str], those: list[str], space: Workspace) -> int:
    """Count the distinct rows in the files `these` that are in none of `those`."""
    rows, others = (
        project_sql(table, parquet_source(paths)) if paths else select_no_rows_sql(table) for paths in (these, those)
    )
    found = space.session.execute(f"SELECT count(*) FROM ({rows} EXCEPT {others})").fetchall()  # noqa: S608 - quoted
    return int(found[0][0])


def _merge_sql(table: Table, new: list[str], old: list[str]) -> str:
    key, rows = quote_name(table.key or ""), project_sql(table, parquet_source(new))
    if not old:
        return f"{rows} ORDER BY {key}"
    return (
        f"{rows} UNION ALL SELECT * FROM ({project_sql(table, parquet_source(old))}) AS old "  # noqa: S608 - names and paths are quoted
        f"WHERE NOT EXISTS (SELECT 1 FROM {parquet_source(new)} AS new WHERE new.{key} = old.{key}) ORDER BY {key}"
    )
