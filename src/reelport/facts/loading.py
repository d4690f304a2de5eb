"""Loading: files or Arrow rows become durable, sorted files of a table in one commit, once for each batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reelport.errors import BadInput, UsageError
from reelport.facts.changes import Loaded, landed
from reelport.facts.checking import DAY, FILE, LINE, REJECT, Source, column_problems, sorted_rows
from reelport.facts.defaults import MEMORY
from reelport.facts.inputs import Form, Input, batch_id, check_unchanged, recognised
from reelport.facts.log import DayLeftOut, Entry, current
from reelport.facts.mapping import mapped, mapping_text
from reelport.facts.rejects import Rejects, check_rejects_path
from reelport.facts.schema import table_named
from reelport.facts.sources import Failure, arrow_source, blamed, sources
from reelport.facts.storage import ROW_GROUP, Writing
from reelport.facts.tables import Table
from reelport.facts.tolerance import MaxBad, RejectCap
from reelport.facts.work_folders import claim as claim_file
from reelport.facts.workspace import Workspace, workspace

Total = Callable[[], int | None]
"""How many rows were read, good and bad, once all of them are; None where only the engine could tell."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a load is: the stage ('reading', 'writing' or 'committing') and the rows that passed it."""

    stage: str
    rows: int


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What a load did. `already` says that nothing changed, as the batch was there.

    `rejects_kept` of its bad rows are in their file, as many as it may hold. `left_out` are days of its files that
    were replaced since the batch was first loaded, and that it didn't take.
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


@dataclass(frozen=True, slots=True)
class _Order:
    """What was asked of a load."""

    root: Path
    table: Table
    batch: str
    names: tuple[str, ...]
    strict: bool = False
    span: tuple[date, date] | None = None
    progress: Callable[[Progress], None] = lambda _: None
    memory: str = MEMORY


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
    progress: Callable[[Progress], None] | None = None,
    memory: str = MEMORY,
    threads: int | None = None,
) -> LoadResult:
    """Load files into a table.

    Bad rows go to the rejects file, which holds as many as `cap` says; with `strict` or
    `replace` any of them refuses the batch, and more than `max_bad` do so always. `replace`
    empties these days (both included) and takes what the files hold of them. Raises BadInput,
    UsageError or StorageError, and then the table is unchanged.
    """
    found = table_named(table)
    _check_span(found, replace)
    inputs = recognised([Path(file) for file in files])
    text = None if mapping is None else mapping_text(mapping)
    span = (replace[0].isoformat(), replace[1].isoformat()) if replace else None
    batch = batch_id(found, text, span, inputs)
    into = rejects or _rejects_path(root, batch, inputs)
    check_rejects_path(into, root, [*(file.path for file in inputs), *([mapping] if mapping else [])])
    names = tuple(str(file.path) for file in inputs)
    order = _Order(root, found, batch, names, strict, replace, progress or (lambda _: None), memory)
    if found.is_fact and replace is None and current(root, found).has(batch):
        return LoadResult(table, batch, already=True)
    with workspace(root, memory, threads) as space:
        claim = partial(claim_file, space.folder)
        bad = Rejects(into, names, cap, max_bad, claim, strict=strict)
        try:
            return _from_files(order, space, inputs, text, bad)
        finally:
            bad.discard()


def load_arrow(
    root: Path,
    table: str,
    rows: pa.Table | pa.RecordBatchReader | Iterable[pa.RecordBatch],
    batch: str,
    *,
    replace: tuple[date, date] | None = None,
    progress: Callable[[Progress], None] | None = None,
    memory: str = MEMORY,
) -> LoadResult:
    """Load Arrow rows, which carry the table's columns or those that must be there, under the batch's given name.

    A batch of facts that is loaded already changes nothing. A row that the table's rules
    refuse refuses them all, by BadInput.
    """
    found = table_named(table)
    _check_span(found, replace)
    if not batch:
        raise UsageError("a batch needs a name")
    order = _Order(root, found, batch, (batch,), True, replace, progress or (lambda _: None), memory)
    if found.is_fact and replace is None and current(root, found).has(batch):
        return LoadResult(table, batch, already=True)
    with workspace(root, memory) as space:
        bad = Rejects(None, (batch,), strict=True)
        try:
            return _load(order, space, (_arrow(space, rows, batch),), bad, Failure())
        finally:
            bad.discard()


def _check_span(table: Table, span: tuple[date, date] | None) -> None:
    if span is None:
        return
    if not table.is_fact:
        raise UsageError(f"{table.name} has no days to replace: its rows are replaced by {table.key}")
    if span[0] > span[1]:
        raise UsageError(f"the days to replace are reversed: {span[0]} is after {span[1]}")


def _arrow(space: Workspace, rows: pa.Table | pa.RecordBatchReader | Iterable[pa.RecordBatch], batch: str) -> Source:
    if isinstance(rows, pa.Table):
        rows = rows.to_reader()
    elif not isinstance(rows, pa.RecordBatchReader):
        parts = iter(rows)
        first = next(parts, None)
        if first is None:
            raise BadInput(f"batch {batch} holds no rows")
        rows = pa.RecordBatchReader.from_batches(first.schema, _chained(first, parts))
    described = space.session.from_arrow(rows.schema.empty_table())
    types = dict(zip(described.columns, map(str, described.types), strict=True))
    places = pa.schema([*rows.schema, pa.field(FILE, pa.int32()), pa.field(LINE, pa.int64())])
    placed = pa.RecordBatchReader.from_batches(places, _placed(rows, places))
    return arrow_source(space.session, placed, types, f"batch {batch}", 0)


def _chained(first: pa.RecordBatch, rest: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
    yield first
    yield from rest


def _placed(rows: pa.RecordBatchReader, schema: pa.Schema) -> Iterable[pa.RecordBatch]:
    line = 1
    for part in rows:
        at = pa.array(range(line, line + part.num_rows), pa.int64())
        file = pa.repeat(pa.scalar(0, pa.int32()), part.num_rows)
        yield pa.RecordBatch.from_arrays([*part.columns, file, at], schema=schema)
        line += part.num_rows


def _rejects_path(root: Path, batch: str, files: Sequence[Input]) -> Path:
    """Beside the first file when that folder can be written, otherwise under the data directory."""
    beside = files[0].path.absolute()
    try:
        with TemporaryFile(dir=beside.parent):
            pass
    except OSError:
        return root.absolute().parent / "rejects" / f"{batch}.csv"
    return beside.with_name(f"{beside.name}.rejects.csv")


def _from_files(order: _Order, space: Workspace, files: Sequence[Input], text: str | None, bad: Rejects) -> LoadResult:
    failure = Failure()
    read = 0

    def watch(rows: int) -> None:
        nonlocal read
        read += rows
        order.progress(Progress("reading", read))

    if text is not None:
        found: tuple[Source, ...] = (mapped(space, files, text, bad.text, failure, watch),)
    else:
        found = sources(space, order.table, files, bad.text, failure, watch)
    parquet = [] if text is not None else [file.path for file in files if file.form is Form.PARQUET]
    stored = sum(pq.read_metadata(path).num_rows for path in parquet)

    def total() -> int | None:
        return None if text is not None else read + bad.lines + stored

    return _load(order, space, found, bad, failure, files, total)


def _load(
    order: _Order,
    space: Workspace,
    found: Sequence[Source],
    bad: Rejects,
    failure: Failure,
    inputs: Sequence[Input] = (),
    total: Total = lambda: None,
) -> LoadResult:
    problems = [problem for source in found for problem in column_problems(order.table, source)]
    if problems:
        raise BadInput("\n".join(problems))
    with ExitStack() as stack:
        writing = stack.enter_context(Writing(order.root / order.table.name, order.table))
        with failure.told(), blamed(space, inputs, found):
            query = sorted_rows(order.table, found)
            rows, days = space.stoppable(lambda: _write(order, space, query, bad, writing, total))
        check_unchanged(inputs)
        _refuse(order, rows, days, bad, total)
        files = writing.finish()
        bad.finish()
        order.progress(Progress("committing", rows))
        entry = Entry(
            kind="replace" if order.span else "load",
            batch=order.batch,
            rows=rows,
            rejects=bad.count,
            days=tuple(day.isoformat() for day in days),
            sources=tuple(Path(name).name for name in order.names),
            span=(order.span[0].isoformat(), order.span[1].isoformat()) if order.span else None,
        )
        done = landed(order.root, order.table, Loaded(entry, files, order.span), order.memory)
        writing.keep(done.files)
    told = bad.path if bad.kept else None
    if done.version is None:
        return LoadResult(order.table.name, order.batch, 0, bad.count, bad.kept, told, already=True)
    landed_days = tuple(map(date.fromisoformat, done.entry.days))
    return LoadResult(
        order.table.name,
        order.batch,
        done.entry.rows,
        bad.count,
        bad.kept,
        told,
        landed_days,
        done.version,
        left_out=done.entry.left_out,
    )


def _write(
    order: _Order, space: Workspace, query: str, bad: Rejects, writing: Writing, total: Total
) -> tuple[int, tuple[date, ...]]:
    """Run the query and write its good rows; how many they are, and their days.

    Bad rows come first: too many of them end the load before a good one is written.
    """
    rows = 0
    days: list[date] = []
    for batch in space.session.sql(query).to_arrow_reader(ROW_GROUP):
        part = pa.Table.from_batches([batch])
        refused = part.num_rows - part.column(REJECT).null_count
        for row in part.column(REJECT).slice(0, refused).to_pylist():
            bad.row(row["file"], row["line"], row["reason"], row["raw"])
        part = part.slice(refused)
        if not part.num_rows:
            continue
        if not rows and (read := total()) is not None:
            bad.check_share(read)
        if order.table.is_fact:
            for day, of_day in _by_day(part):
                writing.day(day, order.batch, of_day)
                if not days or days[-1] != day:
                    days.append(day)
        else:
            writing.take("rows", None, part.drop_columns([REJECT, DAY]))
        rows += part.num_rows
        order.progress(Progress("writing", rows))
    return rows, tuple(days)


def _by_day(part: pa.Table) -> Iterable[tuple[date, pa.Table]]:
    """The rows of each day; they come sorted by it."""
    runs = pc.run_end_encode(part.column(DAY).combine_chunks())
    start = 0
    for day, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
        yield day, part.slice(start, end - start).drop_columns([REJECT, DAY])
        start = end


def _refuse(order: _Order, rows: int, days: tuple[date, ...], bad: Rejects, total: Total) -> None:
    """Refuse the batch when it must not land."""
    read = total() or rows + bad.count
    if bad.count and not rows:
        raise bad.refusal(read, "")
    bad.check_share(read)
    if bad.count and order.span:
        raise bad.refusal(read, "a replacement takes no bad rows")
    if order.span is not None:
        outside = [day.isoformat() for day in days if not order.span[0] <= day <= order.span[1]]
        if outside:
            raise BadInput(
                f"nothing was loaded: rows lie outside the days to replace ({', '.join(outside[:5])}"
                f"{' …' if len(outside) > 5 else ''})"  # noqa: PLR2004 - a few examples do
            )
    elif not rows:
        raise BadInput(f"nothing was loaded: there are no rows in {', '.join(order.names)}")
