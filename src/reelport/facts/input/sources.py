"""Make a load's files readable: one source for each group with the same columns.

Arrow rows are a source too; the line of a row is its number.
"""

from __future__ import annotations

import shlex
from array import array
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import TypeAlias

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from reelport.errors import BadInput
from reelport.facts.damage import DAMAGE_ERRORS
from reelport.facts.data_files.duckdb_session import Workspace, parquet_source, raise_stop, translate_engine_errors
from reelport.facts.data_files.sorted_files import ROW_GROUP
from reelport.facts.input.csv_and_ndjson import Reject, read_batches, read_header, text_schema
from reelport.facts.input.files import FileFormat, InputFile, ProgressMeter, check_unchanged
from reelport.facts.row_rules import FILE, HALF_FLOAT, LINE, OUTPUT, RowSource, find_column_problems
from reelport.facts.tables import Table
from reelport.sql_quoting import quote_name, quote_text
from reelport.storage.durable import full_disk_sentence

_ROW_NUMBER = "file_row_number"
ArrowRows: TypeAlias = pa.Table | pa.RecordBatchReader | Iterable[pa.RecordBatch]


class ReaderFailure:
    """Keeps the exception of a Python reader; DuckDB itself keeps only its message."""

    def __init__(self) -> None:
        self.error: BaseException | None = None

    @contextmanager
    def reraise(self) -> Iterator[None]:
        """Raise the kept exception instead of the DuckDB error that it caused inside the block."""
        try:
            yield
        except duckdb.Error:
            if self.error is not None:
                raise self.error from None
            raise

    def watch(self, source: Iterator[pa.RecordBatch], meter: ProgressMeter) -> Iterator[pa.RecordBatch]:
        """Pass the batches on and count their rows; keep an error or a Ctrl-C before it is raised."""
        try:
            for batch in source:
                meter.add_read_rows(batch.num_rows)
                yield batch
        except (Exception, KeyboardInterrupt) as error:
            self.error = error
            raise


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of a load's files: its session, and what hears of failures and progress."""

    space: Workspace
    reject: Reject
    failure: ReaderFailure
    meter: ProgressMeter

    def read_texts(self, files: Sequence[tuple[int, InputFile]], names: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
        """Read text files as `read_batches` does; keep what fails: DuckDB keeps only its message."""
        return self.failure.watch(read_batches(files, names, self.reject, self.meter), self.meter)


def make_sources(reading: Reading, table: Table, files: Sequence[InputFile]) -> tuple[RowSource, ...]:
    """Make a source for each group with the same columns; BadInput with every file's problems.

    Of text files the order of columns doesn't count: each further source takes memory and time of its own.
    """
    groups: dict[tuple[FileFormat, Hashable], list[tuple[int, InputFile]]] = defaultdict(list)
    shapes: dict[tuple[FileFormat, Hashable], dict[str, str]] = {}
    problems = []
    for number, file in enumerate(files):
        try:
            columns = (
                read_parquet_columns(reading.space.session, file)
                if file.format is FileFormat.PARQUET
                else _read_text_columns(file, table)
            )
        except BadInput as problem:
            problems.append(str(problem))
        else:
            key = file.format, columns if file.format is FileFormat.PARQUET else frozenset(columns)
            shapes.setdefault(key, dict(columns))
            groups[key].append((number, file))
    if problems:
        raise BadInput("\n".join(problems))
    reading.meter.stored = sum(
        pq.read_metadata(file.path).num_rows for file in files if file.format is FileFormat.PARQUET
    )
    return tuple(
        _make_parquet_source(group, shapes[key])
        if key[0] is FileFormat.PARQUET
        else _make_text_source(reading, group, shapes[key])
        for key, group in groups.items()
    )


def read_parquet_columns(session: duckdb.DuckDBPyConnection, file: InputFile) -> tuple[tuple[str, str], ...]:
    """Read the column names of a Parquet file and their SQL types."""
    try:
        with pq.ParquetFile(file.path) as whole:
            names, types = whole.schema_arrow.names, whole.schema_arrow.types
    except (*DAMAGE_ERRORS, OSError) as error:
        raise BadInput(f"{file.path}: the Parquet file is cut or damaged ({str(error).splitlines()[0]})") from error
    spelled = [name.lower() for name in names]  # DuckDB's names ignore case: it would rename one of VIEWS and views
    counts = Counter(spelled)
    repeated = sorted({name for name in names if counts[name.lower()] > 1})
    if repeated:
        raise BadInput(f"{file.path} names {', '.join(map(repr, repeated))} more than once")
    if not names:
        raise BadInput(f"{file.path} has no columns")
    with translate_engine_errors(file.path):
        described = session.execute(f"DESCRIBE SELECT * FROM {parquet_source([str(file.path)])}").fetchall()  # noqa: S608 - the path is quoted
    halves = {name for name, kind in zip(names, types, strict=True) if kind == pa.float16()}
    return tuple((name, HALF_FLOAT if name in halves else kind) for name, kind, *_ in described)


def check_columns(table: Table, found: Sequence[RowSource], files: Sequence[InputFile]) -> None:
    """Raise BadInput with all reasons why columns don't fit the table, and how to map them."""
    problems = [problem for source in found for problem in find_column_problems(table, source)]
    folders = {part.partition("=")[0] for file in files for part in file.path.parts[:-1] if "=" in part}
    if not problems and not (folders and folders & _find_absent_columns(table, found, files)):
        return
    if folders:
        problems.append(
            f"columns that stand in the names of folders ({', '.join(sorted(folders))}: partitions of Hive or Spark) "
            "aren't read: write one file with all columns first, by the command in docs/how-to/map-your-export.md"
        )
    if files and not any(source.named == OUTPUT for source in found):
        command = shlex.join(["reelport", "load", table.name, str(files[0].path), "--suggest-map"])
        problems.append(
            f"a file of another shape is loaded through a mapping; this writes one to start from: {command}"
        )
    raise BadInput("\n".join(problems))


def _find_absent_columns(table: Table, found: Sequence[RowSource], files: Sequence[InputFile]) -> set[str]:
    """Find the table's columns that files lack; what a mapping lacks was left out on purpose."""
    if any(source.named == OUTPUT for source in found):
        return set()
    given: list[Collection[str]] = [source.types.keys() for source in found]
    # A source of NDJSON has all columns, for any line may: the first one tells which the files have.
    given += [read_header(file) for file in files if file.format is FileFormat.NDJSON]
    return {column.name for names in given for column in table.columns if column.name not in names}


@contextmanager
def blame_input(space: Workspace, files: Sequence[InputFile], found: Sequence[RowSource]) -> Iterator[None]:
    """When DuckDB fails in the block, raise BadInput naming the damaged file or the mapping."""
    try:
        yield
    except duckdb.Error as error:
        if isinstance(error, duckdb.OutOfMemoryException) or full_disk_sentence(str(error)):
            raise
        raise_stop(error)
        check_unchanged(files)
        for file in files:
            if file.format is FileFormat.PARQUET and not _is_readable(space, file):
                raise BadInput(f"{file.path}: the Parquet file is damaged and can't be read to its end") from error
        if isinstance(error, duckdb.DataError | duckdb.InvalidInputException) and any(
            one.named == OUTPUT for one in found
        ):
            raise BadInput(f"the mapping can't be run to its end: {str(error).splitlines()[0]}") from error
        raise


def _is_readable(space: Workspace, file: InputFile) -> bool:
    source = f"FROM {parquet_source([str(file.path)])}"
    try:
        space.run_interruptibly(lambda: deque(space.session.sql(source).to_arrow_reader(ROW_GROUP), maxlen=0))
    except duckdb.Error as error:
        return isinstance(error, duckdb.OutOfMemoryException)
    return True


def _read_text_columns(file: InputFile, table: Table) -> tuple[tuple[str, str], ...]:
    """Read a text file's columns, all text; any line of NDJSON may have any of the table's."""
    names = read_header(file)
    if file.format is FileFormat.NDJSON:
        known = tuple(column.name for column in table.columns)
        names = (*known, *sorted(set(names).difference(known)))
    return tuple((name, "VARCHAR") for name in names)


def _name_group(group: Sequence[tuple[int, InputFile]]) -> str:
    first = str(group[0][1].path)
    return first if len(group) == 1 else f"{first} and {len(group) - 1} more"


def _make_parquet_source(group: Sequence[tuple[int, InputFile]], types: dict[str, str]) -> RowSource:
    paths = [str(file.path) for _, file in group]
    relation = parquet_source(paths, filename=f"'{FILE}'", file_row_number="true")
    numbers = f"[{', '.join(str(number) for number, _ in group)}]"
    named = f"[{', '.join(map(quote_text, paths))}]"
    file = f"{numbers}[list_position({named}, {quote_name(FILE)})]"
    return RowSource(relation, types, file, f"{_ROW_NUMBER} + 1", _name_group(group))


def _make_text_source(reading: Reading, group: Sequence[tuple[int, InputFile]], types: dict[str, str]) -> RowSource:
    """Make one source of text files with the same columns, in any order. It is read once."""
    names = tuple(types)
    reader = pa.RecordBatchReader.from_batches(text_schema(names), reading.read_texts(group, names))
    return _make_arrow_source(reading.space.session, reader, types, _name_group(group), group[0][0])


def _make_arrow_source(
    session: duckdb.DuckDBPyConnection, reader: pa.RecordBatchReader, types: dict[str, str], named: str, number: int
) -> RowSource:
    relation = f"_reelport_input_{number}"
    session.register(relation, reader)
    return RowSource(relation, types, quote_name(FILE), quote_name(LINE), named)


def make_arrow_rows_source(space: Workspace, rows: ArrowRows, batch: str) -> RowSource:
    """Make a source of the rows for a batch; BadInput for an iterable without a batch."""
    if isinstance(rows, pa.Table):
        rows = rows.to_reader()
    elif not isinstance(rows, pa.RecordBatchReader):
        parts = iter(rows)
        first = next(parts, None)
        if first is None:
            raise BadInput(f"batch {batch} holds no rows")
        rows = pa.RecordBatchReader.from_batches(first.schema, chain([first], parts))
    described = space.session.from_arrow(pa.Table.from_batches([], rows.schema))
    types = dict(zip(described.columns, map(str, described.types), strict=True))
    places = pa.schema([*rows.schema, pa.field(FILE, pa.int32()), pa.field(LINE, pa.int64())])
    placed = pa.RecordBatchReader.from_batches(places, _add_places(rows, places))
    return _make_arrow_source(space.session, placed, types, f"batch {batch}", 0)


def _add_places(rows: pa.RecordBatchReader, schema: pa.Schema) -> Iterable[pa.RecordBatch]:
    # Out of buffers: Arrow imports pandas, where it is installed, to make an array or a scalar of Python's values.
    line = 1
    for part in rows:
        size = part.num_rows
        file = pa.Array.from_buffers(pa.int32(), size, [None, pa.py_buffer(bytes(4 * size))])
        lines = pa.Array.from_buffers(pa.int64(), size, [None, pa.py_buffer(array("q", range(line, line + size)))])
        yield pa.RecordBatch.from_arrays([*part.columns, file, lines], schema=schema)
        line += size
