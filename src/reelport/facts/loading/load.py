"""Loading: files or Arrow rows become durable, sorted files of a table in one commit, once for each batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile

from reelport.errors import BadInput, UsageError
from reelport.facts.defaults import MEMORY
from reelport.facts.input.arrow_input import ArrowRows, make_arrow_rows_source
from reelport.facts.input.checking import RowSource, sorted_rows_sql
from reelport.facts.input.files import InputFile, batch_id, check_unchanged, detect_format
from reelport.facts.input.landing import OutsideRows, RowWriter, Total
from reelport.facts.input.mapping import read_mapping, run_mapping
from reelport.facts.input.progress import ProgressCallback, ProgressMeter
from reelport.facts.input.rejects import Rejects, check_rejects_path
from reelport.facts.input.sources import ReaderFailure, blame_input, check_columns, make_sources
from reelport.facts.input.tolerance import LoadTerms, MaxBad, RejectCap
from reelport.facts.loading.changes import AppliedLoad, PreparedLoad, apply_load
from reelport.facts.log.delta_log import DayLeftOut, LogEntry, read_newest
from reelport.facts.schema import find_table
from reelport.facts.storage.duckdb_session import Workspace, open_workspace
from reelport.facts.storage.sorted_files import StagedFiles
from reelport.facts.storage.work_folders import claim_file
from reelport.facts.tables import Table


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What a load did. `already` says that nothing changed, as the batch was there.

    `rejects_kept` of its bad rows are in their file, as many as it may hold. `left_out` are days of its files that
    were replaced since the batch was first loaded, and that it didn't take. `are_lines_of_output` where a mapping
    doesn't keep rows one to one, so that a reject's line is its row in what the mapping gave. `outside` are rows that
    were taken as they are, because the load was lenient.
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
    are_lines_of_output: bool = False
    outside: tuple[OutsideRows, ...] = ()


@dataclass(frozen=True, slots=True)
class _LoadRequest:
    """What was asked of a load."""

    root: Path
    table: Table
    batch: str
    names: tuple[str, ...]
    terms: LoadTerms = field(default_factory=LoadTerms)
    memory: str = MEMORY
    lenient: bool = False
    owners: Counter[str] | None = None

    @property
    def span(self) -> tuple[date, date] | None:
        """The days that are replaced, if any."""
        return self.terms.span


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
    owners: Counter[str] | None = None,
    progress: ProgressCallback | None = None,
    memory: str = MEMORY,
    threads: int | None = None,
) -> LoadResult:
    """Load files into a table.

    Bad rows go to the rejects file, which holds as many as `cap` says; with `strict` or
    `replace` any of them refuses the batch, and more than `max_bad` do so always. `replace`
    empties these days (both included) and takes what the files hold of them. `lenient` takes
    texts outside their list where no number depends on it. `owners`, when given, counts the
    rows of each owner channel. Raises BadInput, UsageError or StorageError, and then the table
    is unchanged.
    """
    found = find_table(table)
    check_span(found, replace)
    inputs = detect_format([Path(file) for file in files])
    text = None if mapping is None else read_mapping(mapping)
    batch = name_batch(found, text, replace, inputs)
    into = rejects or _choose_rejects_path(root, batch, inputs)
    check_rejects_path(into, root, [*(file.path for file in inputs), *([mapping] if mapping else [])])
    names = tuple(str(file.path) for file in inputs)
    order = _LoadRequest(root, found, batch, names, LoadTerms(strict, replace, max_bad), memory, lenient, owners)
    if found.is_fact and replace is None and read_newest(root, found).is_loaded(batch):
        return LoadResult(table, batch, already=True)
    with open_workspace(root, memory, threads) as space:
        claim = partial(claim_file, space.folder)
        bad = Rejects(into, names, cap, max_bad, claim, strict=strict)
        try:
            return _load_files(order, space, inputs, text, bad, ProgressMeter(inputs, progress))
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
    progress: ProgressCallback | None = None,
    memory: str = MEMORY,
) -> LoadResult:
    """Load Arrow rows, which carry the table's columns or those that must be there, under the batch's given name.

    A batch of facts that is loaded already changes nothing. A row that the table's rules
    refuse refuses them all, by BadInput; `lenient` as in `load`.
    """
    found = find_table(table)
    check_span(found, replace)
    if not batch:
        raise UsageError("a batch needs a name")
    order = _LoadRequest(root, found, batch, (batch,), LoadTerms(strict=True, span=replace), memory, lenient)
    if found.is_fact and replace is None and read_newest(root, found).is_loaded(batch):
        return LoadResult(table, batch, already=True)
    with open_workspace(root, memory) as space:
        bad = Rejects(None, (batch,), strict=True)
        try:
            return _load_sources(
                order,
                space,
                (make_arrow_rows_source(space, rows, batch),),
                bad,
                ReaderFailure(),
                ProgressMeter((), progress),
            )
        finally:
            bad.discard()


def check_span(table: Table, span: tuple[date, date] | None) -> None:
    """Raise UsageError where these days of the table can't be replaced."""
    if span is None:
        return
    if not table.is_fact:
        raise UsageError(f"{table.name} has no days to replace: its rows are replaced by {table.key}")
    if span[0] > span[1]:
        raise UsageError(f"the days to replace are reversed: {span[0]} is after {span[1]}")


def _choose_rejects_path(root: Path, batch: str, files: Sequence[InputFile]) -> Path:
    """Beside the first file when that folder can be written, otherwise under the data directory."""
    beside = files[0].path.absolute()
    try:
        with TemporaryFile(dir=beside.parent):
            pass
    except OSError:
        return root.absolute().parent / "rejects" / f"{batch}.csv"
    return beside.with_name(f"{beside.name}.rejects.csv")


def name_batch(table: Table, mapping: str | None, span: tuple[date, date] | None, files: Sequence[InputFile]) -> str:
    """The name of the batch that a load of these files has."""
    return batch_id(table, mapping, (span[0].isoformat(), span[1].isoformat()) if span else None, files)


def _load_files(
    order: _LoadRequest,
    space: Workspace,
    files: Sequence[InputFile],
    text: str | None,
    bad: Rejects,
    meter: ProgressMeter,
) -> LoadResult:
    failure = ReaderFailure()
    if text is not None:
        found: tuple[RowSource, ...] = (run_mapping(space, files, text, bad.add_broken_line, failure, meter),)
        bad.locate = found[0].locate
    else:
        found = make_sources(space, order.table, files, bad.add_broken_line, failure, meter)

    def total() -> int | None:
        return None if text is not None else meter.rows + bad.lines + meter.stored

    return _load_sources(order, space, found, bad, failure, meter, files, total)


def _load_sources(
    order: _LoadRequest,
    space: Workspace,
    found: Sequence[RowSource],
    bad: Rejects,
    failure: ReaderFailure,
    meter: ProgressMeter,
    inputs: Sequence[InputFile] = (),
    total: Total = lambda: None,
) -> LoadResult:
    check_columns(order.table, found, inputs)
    with ExitStack() as stack:
        writing = stack.enter_context(StagedFiles(order.root / order.table.name, order.table))
        landing = RowWriter(order.table, order.batch, writing, bad, meter, total, order.owners)
        with failure.reraise(), blame_input(space, inputs, found):
            query = sorted_rows_sql(order.table, found, lenient=order.lenient)
            space.run_interruptibly(lambda: landing.write(space.session.sql(query)), meter.report_engine_share)
        check_unchanged(inputs)
        _refuse_bad_rows(order, landing, bad, total)
        files = writing.finish()
        bad.finish()
        meter.report_committing(landing.rows)
        done = apply_load(
            order.root, order.table, PreparedLoad(_make_entry(order, landing, bad), files, order.span), order.memory
        )
        writing.keep(done.files)
    return _make_result(order, landing, bad, done)


def _make_entry(order: _LoadRequest, landing: RowWriter, bad: Rejects) -> LogEntry:
    """What the log records of the load."""
    return LogEntry(
        kind="replace" if order.span else "load",
        batch=order.batch,
        rows=landing.rows,
        rejects=bad.count,
        days=tuple(day.isoformat() for day in landing.days),
        sources=tuple(Path(name).name for name in order.names),
        span=(order.span[0].isoformat(), order.span[1].isoformat()) if order.span else None,
    )


def _make_result(order: _LoadRequest, landing: RowWriter, bad: Rejects, done: AppliedLoad) -> LoadResult:
    told = LoadResult(
        order.table.name,
        order.batch,
        rejects=bad.count,
        rejects_kept=bad.kept,
        rejects_file=bad.path if bad.kept else None,
        are_lines_of_output=bad.are_lines_of_output,
    )
    if done.version is None:
        return replace(told, already=True)
    return replace(
        told,
        rows=done.entry.rows,
        days=tuple(map(date.fromisoformat, done.entry.days)),
        version=done.version,
        left_out=done.entry.left_out,
        outside=tuple(OutsideRows(reason, rows) for reason, rows in sorted(landing.outside.items())),
    )


def _refuse_bad_rows(order: _LoadRequest, landing: RowWriter, bad: Rejects, total: Total) -> None:
    """Refuse the batch when it must not land."""
    read = total() or landing.rows + bad.count
    if (why := order.terms.refuse_bad_rows(landing.rows, bad.count, read)) is not None:
        raise bad.make_refusal(read, why)
    if (problem := order.terms.find_problem(landing.rows, landing.days, order.names)) is not None:
        raise BadInput(f"nothing was loaded: {problem}")
