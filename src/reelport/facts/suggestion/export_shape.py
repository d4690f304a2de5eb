"""Read an export's columns as a mapping would see them, with values of first rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from reelport.errors import BadInput
from reelport.facts.data_files.duckdb_session import (
    Workspace,
    open_reading_workspace,
    parquet_source,
    translate_engine_errors,
)
from reelport.facts.defaults import MEMORY
from reelport.facts.input.csv_records import add_conversion
from reelport.facts.input.files import FileFormat, InputFile, detect_format
from reelport.facts.input.json_input import create_json_view
from reelport.facts.input.load_query import FILE, LINE
from reelport.facts.input.progress import ProgressMeter
from reelport.facts.input.sources import read_parquet_columns
from reelport.facts.input.text_batches import read_batches, read_header
from reelport.facts.schema import find_table
from reelport.facts.suggestion.conversions import ExportColumn
from reelport.facts.suggestion.suggest import Suggestion, suggest

_ROWS, _VALUES = 2_000, 500
_MOST_COLUMNS = 10_000
_INPUT = "_reelport_export"


def suggest_for_files(root: Path, table: str, files: Sequence[Path], memory: str = MEMORY) -> Suggestion:
    """Suggest the mapping that fits the files to the table, by the first file only.

    Raises BadInput when that file can't be read, UsageError when there is no such table.
    """
    found = find_table(table)
    first = detect_format([Path(file) for file in files])[0]
    with open_reading_workspace(root, memory) as space, translate_engine_errors(first.path):
        return suggest(space.session, found, _read_columns(space, first))


def _read_columns(space: Workspace, file: InputFile) -> tuple[ExportColumn, ...]:
    match file.format:
        case FileFormat.CSV:
            return _read_csv_columns(file)
        case FileFormat.PARQUET:
            types = dict(read_parquet_columns(space.session, file))
            relation = parquet_source([str(file.path)])
        case FileFormat.NDJSON:
            create_json_view(space, _INPUT, [file], lambda *_: None, ProgressMeter([file], lambda _: None))
            described = space.session.execute(f"DESCRIBE {_INPUT}").fetchall()
            types, relation = {name: kind for name, kind, *_ in described}, _INPUT
    found = [ExportColumn(name, kind, (), (name,)) for name, kind in types.items()]
    found += _read_fields(space, relation)
    _check_column_count(file, len(found))
    usable = [given for given in found if given.is_usable]
    texts = ", ".join(f"CAST({given.sql} AS VARCHAR)" for given in usable) or "NULL"
    rows = space.session.execute(f"SELECT {texts} FROM {relation} LIMIT {_ROWS}").fetchall()  # noqa: S608 - quoted
    read = [replace(given, values=_distinct_values(row[at] for row in rows)) for at, given in enumerate(usable)]
    return (*read, *(given for given in found if not given.is_usable))


def _read_fields(space: Workspace, relation: str) -> Iterator[ExportColumn]:
    """Read the fields of columns that hold objects (`device.category`) as columns of their own."""
    described = space.session.execute(f"SELECT * FROM {relation} LIMIT 0").description  # noqa: S608 - quoted
    for column, kind, *_ in described or ():
        if kind.id == "struct":
            for name, inner in kind.children:
                yield ExportColumn(f"{column}.{name}", str(inner), (), (column, name))


def _check_column_count(file: InputFile, count: int) -> None:
    if count > _MOST_COLUMNS:
        raise BadInput(
            f"{file.path} has {count:,} columns: a mapping is guessed for {_MOST_COLUMNS:,} at most; "
            "take those that you need into another file, or write the mapping yourself"
        )


def _read_csv_columns(file: InputFile) -> tuple[ExportColumn, ...]:
    names = read_header(file)
    _check_column_count(file, len(names))
    broken: list[str] = []

    def reject(_: int, line: int, reason: str, __: str) -> None:
        if not broken:
            broken.append(f"line {line}: {add_conversion(reason)}")

    part = next(read_batches([(0, file)], names, reject, ProgressMeter([file], lambda _: None)), None)
    if part is None:
        why = f" ({broken[0]})" if broken else ""
        raise BadInput(f"{file.path} has a header and no row that can be read{why}: a mapping is guessed by rows too")
    rows = part.slice(0, _ROWS).drop_columns([FILE, LINE])
    return tuple(ExportColumn(name, "VARCHAR", _distinct_values(rows.column(name).to_pylist())) for name in names)


def _distinct_values(cells: Iterable[str | None]) -> tuple[str, ...]:
    """Return the distinct non-empty texts of the cells in order, at most 500."""
    return tuple(islice(dict.fromkeys(cell.strip() for cell in cells if cell is not None and cell.strip()), _VALUES))
