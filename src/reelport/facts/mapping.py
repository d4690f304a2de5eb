"""Foreign shapes by SQL: one SELECT over `input`, run where it can reach nothing but the files of its load."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from reelport.errors import BadInput
from reelport.facts.checking import LINE, OUTPUT, Source
from reelport.facts.durable import storage_errors
from reelport.facts.inputs import Form, Input
from reelport.facts.json_input import json_view
from reelport.facts.reading import Reject, batches, header_of
from reelport.facts.rules import literal, quoted
from reelport.facts.sources import Failure, Watch, parquet_columns
from reelport.facts.workspace import Workspace, engine_errors, parquet_source

INPUT = "input"
_MAPPED = "_reelport_mapped"


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
    space: Workspace, files: Sequence[Input], text: str, reject: Reject, failure: Failure, watch: Watch
) -> Source:
    """What the mapping makes of the files; the line of a row is its number in the mapping's output."""
    forms = sorted({file.form for file in files})
    if len(forms) > 1:
        raise BadInput(f"a mapping takes files of one form; these are {' and '.join(forms)}")
    session = space.session
    match forms[0]:
        case Form.PARQUET:
            for file in files:
                parquet_columns(session, file)
            paths = _parquet_view(space, [str(file.path) for file in files])
        case Form.CSV:
            paths = _parquet_view(space, [str(_staged(space, files, reject, failure, watch))])
        case Form.NDJSON:
            paths = json_view(space, INPUT, files, reject, watch)
    _lock(space, paths)
    body = text.strip().rstrip(";")
    try:
        session.execute(f"CREATE TEMP VIEW {_MAPPED} AS {body}\n")
        described = session.execute(f"DESCRIBE {_MAPPED}").fetchall()
    except duckdb.Error as error:
        # What follows shows the statement, which is ours and no line of the mapping's.
        said = str(error).partition("\n\nLINE ")[0]
        raise BadInput(f"the mapping can't be run: {said}") from error
    numbered = f"(SELECT *, row_number() OVER () AS {quoted(LINE)} FROM {_MAPPED})"  # noqa: S608 - a fixed name
    types = {name: kind for name, kind, *_ in described}
    return Source(numbered, types, "CAST(NULL AS INTEGER)", quoted(LINE), OUTPUT)


def _staged(space: Workspace, files: Sequence[Input], reject: Reject, failure: Failure, watch: Watch) -> Path:
    """CSV files as one Parquet file of texts, so that the mapping may read them more than once."""
    headers = {header_of(file) for file in files}
    if len(headers) > 1:
        raise BadInput("a mapping takes CSV files of one header; these have different ones")
    names = headers.pop()
    staged = space.folder / "input.parquet"
    schema = pa.schema([pa.field(name, pa.string()) for name in names])
    with storage_errors(staged), pq.ParquetWriter(str(staged), schema, compression="zstd") as writer:
        for batch in failure.watched(batches(list(enumerate(files)), names, reject), watch):
            writer.write_batch(batch.select(list(names)))
    return staged


def _parquet_view(space: Workspace, paths: list[str]) -> list[str]:
    with engine_errors(Path(paths[0])):
        space.session.execute(f"CREATE TEMP VIEW {INPUT} AS SELECT * FROM {parquet_source(paths)}")  # noqa: S608
    return paths


def _lock(space: Workspace, paths: Sequence[str]) -> None:
    """From here on the session reads these files and its own spill folder, and nothing else anywhere."""
    allowed = ", ".join(literal(path) for path in paths)
    space.session.execute(f"SET allowed_paths = [{allowed}]")
    space.session.execute("SET enable_external_access = false")
    space.session.execute("SET lock_configuration = true")
