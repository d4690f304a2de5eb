"""The columns of an export as a mapping would see them, with different values of its first rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from reelport.errors import BadInput
from reelport.facts.defaults import MEMORY
from reelport.facts.input.checking import FILE, LINE
from reelport.facts.input.files import Form, Input, detect_format
from reelport.facts.input.json_input import json_view
from reelport.facts.input.json_places import ObjectPlaces
from reelport.facts.input.progress import Meter
from reelport.facts.input.sources import parquet_columns
from reelport.facts.input.text_batches import batches, header_of
from reelport.facts.schema import table_named
from reelport.facts.storage.duckdb_session import Workspace, engine_errors, parquet_source, reading_workspace
from reelport.facts.suggestion.conversions import Given
from reelport.facts.suggestion.suggest import Suggestion, suggest

_ROWS, _VALUES = 2_000, 500
_INPUT = "_reelport_export"


def suggestion(root: Path, table: str, files: Sequence[Path], memory: str = MEMORY) -> Suggestion:
    """What mapping the files would need to fit the table, judged by the first of them.

    Raises BadInput when it can't be read, UsageError when there is no such table.
    """
    found = table_named(table)
    first = detect_format([Path(file) for file in files])[0]
    with reading_workspace(root, memory) as space, engine_errors(first.path):
        return suggest(space.session, found, _columns(space, first))


def _columns(space: Workspace, file: Input) -> tuple[Given, ...]:
    match file.form:
        case Form.CSV:
            return _csv_columns(file)
        case Form.PARQUET:
            types = dict(parquet_columns(space.session, file))
            relation = parquet_source([str(file.path)])
        case Form.NDJSON:
            json_view(space, _INPUT, [file], lambda *_: None, Meter([file], lambda _: None), ObjectPlaces([file]))
            described = space.session.execute(f"DESCRIBE {_INPUT}").fetchall()
            types, relation = {name: kind for name, kind, *_ in described}, _INPUT
    found = [Given(name, kind, (), (name,)) for name, kind in types.items()]
    found += [field for given in found for field in _fields(space, relation, given)]
    texts = ", ".join(f"CAST({given.sql} AS VARCHAR)" for given in found)
    rows = space.session.execute(f"SELECT {texts} FROM {relation} LIMIT {_ROWS}").fetchall()  # noqa: S608 - quoted
    return tuple(replace(given, values=_values(row[at] for row in rows)) for at, given in enumerate(found))


def _fields(space: Workspace, relation: str, given: Given) -> Iterator[Given]:
    """The fields of a column that holds objects (`device.category`), as columns of their own."""
    if not given.type.startswith("STRUCT(") or given.type.endswith("]"):
        return
    described = space.session.execute(f"DESCRIBE SELECT {given.sql}.* FROM {relation}").fetchall()  # noqa: S608 - quoted
    for name, kind, *_ in described:
        yield Given(f"{given.name}.{name}", kind, (), (given.name, name))


def _csv_columns(file: Input) -> tuple[Given, ...]:
    names = header_of(file)
    part = next(batches([(0, file)], names, lambda *_: None, Meter([file], lambda _: None)), None)
    if part is None:
        raise BadInput(f"{file.path} has a header and no row that can be read: a mapping is guessed by rows too")
    rows = part.slice(0, _ROWS).drop_columns([FILE, LINE])
    return tuple(Given(name, "VARCHAR", _values(rows.column(name).to_pylist())) for name in names)


def _values(cells: Iterable[str | None]) -> tuple[str, ...]:
    """The different texts among the cells, in their order, as many as tell enough."""
    return tuple(islice(dict.fromkeys(cell.strip() for cell in cells if cell is not None and cell.strip()), _VALUES))
