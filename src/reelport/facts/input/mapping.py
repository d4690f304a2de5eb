"""Foreign shapes by SQL: one SELECT over `input`, run where it can reach nothing but the files of its load."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from reelport.errors import BadInput
from reelport.facts.durable import translate_io_errors
from reelport.facts.input.checking import FILE, LINE, OUTPUT, Locate, Source
from reelport.facts.input.files import Form, Input
from reelport.facts.input.json_input import json_view
from reelport.facts.input.json_places import ObjectPlaces
from reelport.facts.input.lineage import traced
from reelport.facts.input.progress import Meter
from reelport.facts.input.sources import ROW_NUMBER, Failure, parquet_columns, parquet_rows
from reelport.facts.input.text_batches import Reject, batches, header_of, text_schema
from reelport.facts.rules import literal, quoted
from reelport.facts.storage.duckdb_session import Workspace, engine_errors, parquet_source

INPUT = "input"
_MAPPED, _TRACED = "_reelport_mapped", "_reelport_traced"
_PLACED = "_reelport_placed"
"""The input's rows with their file and line, which a mapping has no name for."""
_NUMBER = f"row_number() OVER () AS {quoted(LINE)}"


def mapping_text(path: Path) -> str:
    """The mapping's SQL, checked to be one SELECT."""
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is no UTF-8 text") from error
    except OSError as error:
        raise BadInput(f"{path} can't be read: {error.strerror}") from error
    try:
        statements = duckdb.extract_statements(text)
    except duckdb.Error as error:
        raise BadInput(f"{path} can't be understood: {error}") from error
    if len(statements) != 1:
        raise BadInput(f"{path} holds {len(statements)} statements, where one SELECT is expected")
    if statements[0].type is not duckdb.StatementType.SELECT:
        raise BadInput(f"{path} holds a {statements[0].type.name}, where one SELECT over {INPUT} is expected")
    return text


def mapped(
    space: Workspace, files: Sequence[Input], text: str, reject: Reject, failure: Failure, meter: Meter
) -> Source:
    """What the mapping makes of the files, each row with the file and line that it is made of.

    Where the mapping doesn't keep rows one to one they have no file, and their number in its output for a line.
    """
    forms = sorted({file.form for file in files})
    if len(forms) > 1:
        raise BadInput(f"a mapping takes files of one form; these are {' and '.join(forms)}")
    locate = None
    match forms[0]:
        case Form.PARQUET:
            paths = _parquet_views(space, files)
        case Form.CSV:
            paths = _csv_views(space, _staged(space, files, reject, failure, meter))
        case Form.NDJSON:
            places = ObjectPlaces(files)
            paths = json_view(space, INPUT, files, reject, meter, places)
            _view(space, _PLACED, f"SELECT *, CAST(NULL AS INTEGER) AS {quoted(FILE)}, {_NUMBER} FROM {INPUT}")  # noqa: S608 - fixed names
            locate = places.locate
    meter.is_engine_reading = True
    _lock(space, paths)
    return _source(space, text.strip().rstrip(";"), locate)


def _source(space: Workspace, body: str, locate: Locate | None) -> Source:
    """The rows of the SELECT, over the views of its input."""
    try:
        _view(space, _MAPPED, f"{body}\n")
        types = _columns(space, _MAPPED)
    except duckdb.Error as error:
        # What follows shows the statement, which is ours and no line of the mapping's.
        said = str(error).partition("\n\nLINE ")[0]
        raise BadInput(f"the mapping can't be run: {said}") from error
    if _can_trace(space, body, types):
        return Source(_TRACED, types, quoted(FILE), quoted(LINE), OUTPUT, locate)
    return Source(f"(SELECT *, {_NUMBER} FROM {_MAPPED})", types, "CAST(NULL AS INTEGER)", quoted(LINE), OUTPUT)  # noqa: S608 - fixed names


def _can_trace(space: Workspace, body: str, types: dict[str, str]) -> bool:
    """Make a view of the mapping's rows with the places of those that they are made of, where the mapping allows it."""
    try:
        text = traced(space.session, body, INPUT, _PLACED)
        if text is None:
            return False
        _view(space, _TRACED, text)
        found = _columns(space, _TRACED)
    except duckdb.Error:  # the engine knows of more that makes one row of several, such as a sum
        return False
    return list(found.items())[:-2] == list(types.items())


def _columns(space: Workspace, view: str) -> dict[str, str]:
    return {name: kind for name, kind, *_ in space.session.execute(f"DESCRIBE {view}").fetchall()}


def _view(space: Workspace, name: str, body: str) -> None:
    space.session.execute(f"CREATE TEMP VIEW {name} AS {body}")


def _staged(space: Workspace, files: Sequence[Input], reject: Reject, failure: Failure, meter: Meter) -> Path:
    """CSV files as one Parquet file of texts and their places, so that the mapping may read them more than once."""
    headers = {header_of(file) for file in files}
    if len(headers) > 1:
        raise BadInput("a mapping takes CSV files of one header; these have different ones")
    names = headers.pop()
    staged = space.folder / "input.parquet"
    with translate_io_errors(staged), pq.ParquetWriter(str(staged), text_schema(names), compression="zstd") as writer:
        for batch in failure.watched(batches(list(enumerate(files)), names, reject, meter), meter):
            writer.write_batch(batch)
    return staged


def _csv_views(space: Workspace, staged: Path) -> list[str]:
    with engine_errors(staged):
        _view(space, _PLACED, f"SELECT * FROM {parquet_source([str(staged)])}")  # noqa: S608 - the path is quoted
        _view(space, INPUT, f"SELECT * EXCLUDE ({quoted(FILE)}, {quoted(LINE)}) FROM {_PLACED}")  # noqa: S608 - fixed names
    return [str(staged)]


def _parquet_views(space: Workspace, files: Sequence[Input]) -> list[str]:
    paths = [str(file.path) for file in files]
    types: dict[str, str] = {}
    for file in files:
        types.update(parquet_columns(space.session, file))
    with engine_errors(files[0].path):
        _view(space, INPUT, f"SELECT * FROM {parquet_source(paths)}")  # noqa: S608 - the paths are quoted
    if not types.keys() & {FILE, LINE, ROW_NUMBER}:
        rows = parquet_rows(list(enumerate(files)), types)
        names = ", ".join(map(quoted, types))
        places = f"{rows.file} AS {quoted(FILE)}, {rows.line} AS {quoted(LINE)}"
        _view(space, _PLACED, f"SELECT {names}, {places} FROM {rows.relation}")  # noqa: S608 - names are quoted
    return paths


def _lock(space: Workspace, paths: Sequence[str]) -> None:
    """From here on the session reads these files and its own spill folder, and nothing else anywhere."""
    allowed = ", ".join(literal(path) for path in paths)
    space.session.execute(f"SET allowed_paths = [{allowed}]")
    space.session.execute("SET enable_external_access = false")
    space.session.execute("SET lock_configuration = true")
