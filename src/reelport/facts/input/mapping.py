"""Run a mapping: a SELECT over `input` that converts files to a table's columns.

The session is locked down first, so that the SELECT can read nothing but the files of its load. NDJSON is read as it
is, or else only the lines of it that DuckDB can read.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from reelport.errors import BadInput
from reelport.facts.data_files.duckdb_session import (
    Workspace,
    escape_glob,
    parquet_source,
    path_list_sql,
    translate_engine_errors,
)
from reelport.facts.input.csv_and_ndjson import (
    BATCH_ROWS,
    NOT_UTF8,
    LineReader,
    decode_line,
    parse_object,
    read_header,
    text_schema,
)
from reelport.facts.input.files import READ_ERRORS, FileFormat, InputFile, damaged_sentence
from reelport.facts.input.sources import Reading, read_parquet_columns
from reelport.facts.row_rules import FILE, HALF_FLOAT, LINE, OUTPUT, RowSource, exact_half_sql
from reelport.sql_quoting import quote_name, quote_text
from reelport.storage.durable import translate_io_errors

INPUT = "input"
_MAPPED = "_reelport_mapped"
_NUMBER = f"row_number() OVER () AS {quote_name(LINE)}"
_COMPRESSIONS = {None: "none", "gzip": "gzip", "zstd": "zstd"}
_JSON_LINES = "_reelport_lines"
_IS_OBJECT = f"""
    SELECT CASE WHEN json_valid(line) THEN json_type(line) = 'OBJECT' AND NOT list_contains(json_keys(line), '') END
    FROM {_JSON_LINES}
"""  # noqa: S608 - a fixed name


def read_mapping(path: Path) -> str:
    """Read the mapping's SQL and check that it is a single SELECT."""
    try:
        text = path.read_bytes().decode("utf-8-sig")  # not as lines: a quoted name may hold a carriage return
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


def run_mapping(reading: Reading, files: Sequence[InputFile], text: str, *, in_order: bool) -> RowSource:
    """Make the source of the mapping's output, where a row's line is its number.

    With `in_order`, rows that the mapping's own ORDER BY leaves even are in the order of their files.
    """
    forms = sorted({file.format for file in files})
    if len(forms) > 1:
        raise BadInput(f"a mapping takes files of one form; these are {' and '.join(forms)}")
    space = reading.space
    match forms[0]:
        case FileFormat.PARQUET:
            paths = _create_parquet_view(space, files)
        case FileFormat.CSV:
            paths = _create_csv_view(reading, files)
        case FileFormat.NDJSON:
            paths = create_json_view(reading, INPUT, files)
    reading.meter.is_engine_reading = True
    if in_order:
        space.session.execute("SET threads = 1")  # Several threads sort rows in pieces, and mix even ones.
    _restrict_access(space, paths)
    try:
        _create_view(space, _MAPPED, text.strip().rstrip(";") + "\n")
        types = {name: kind for name, kind, *_ in space.session.execute(f"DESCRIBE {_MAPPED}").fetchall()}
    except duckdb.Error as error:
        # The rest of the message quotes our statement around the mapping, whose lines are numbered differently.
        message = str(error).partition("\n\nLINE ")[0]
        raise BadInput(f"the mapping can't be run: {message}") from error
    return RowSource(f"(SELECT *, {_NUMBER} FROM {_MAPPED})", types, "CAST(NULL AS INTEGER)", quote_name(LINE), OUTPUT)  # noqa: S608 - fixed names


def _create_view(space: Workspace, name: str, body: str) -> None:
    space.session.execute(f"CREATE TEMP VIEW {name} AS {body}")


def _create_csv_view(reading: Reading, files: Sequence[InputFile]) -> list[str]:
    """Convert CSV files to one Parquet file of texts and places, which can be read repeatedly."""
    headers = {read_header(file) for file in files}
    if len(headers) > 1:
        raise BadInput("a mapping takes CSV files of one header; these have different ones")
    names = headers.pop()
    staged = reading.space.folder / "input.parquet"
    with translate_io_errors(staged), pq.ParquetWriter(str(staged), text_schema(names), compression="zstd") as writer:
        for batch in reading.read_texts(list(enumerate(files)), names):
            writer.write_batch(batch)
    places, rows = f"{quote_name(FILE)}, {quote_name(LINE)}", parquet_source([str(staged)])
    with translate_engine_errors(staged):
        _create_view(reading.space, INPUT, f"SELECT * EXCLUDE ({places}) FROM {rows}")  # noqa: S608 - all are quoted
    return [str(staged)]


def _create_parquet_view(space: Workspace, files: Sequence[InputFile]) -> list[str]:
    paths = [str(file.path) for file in files]
    exact: dict[str, str] = {}  # by names in lower case: files may spell one name in several ways
    for file in files:
        columns = read_parquet_columns(space.session, file)
        exact.update((name.lower(), exact_half_sql(name)) for name, kind in columns if kind == HALF_FLOAT)
    replaced = f" REPLACE ({', '.join(exact.values())})" if exact else ""
    with translate_engine_errors(files[0].path):
        _create_view(space, INPUT, f"SELECT *{replaced} FROM {parquet_source(paths)}")  # noqa: S608 - all are quoted
    return paths


def _restrict_access(space: Workspace, paths: Sequence[str]) -> None:
    # DuckDB compares a path as the query spells it, with its glob characters escaped, and the path that it opens.
    spellings = dict.fromkeys(spelled for path in paths for spelled in (path, escape_glob(path)))
    allowed = ", ".join(map(quote_text, spellings))
    space.session.execute(f"SET allowed_paths = [{allowed}]")
    space.session.execute("SET enable_external_access = false")
    space.session.execute("SET lock_configuration = true")


def create_json_view(reading: Reading, name: str, files: Sequence[InputFile]) -> list[str]:
    """Create a view of the files' objects, as DuckDB types them; return the paths it reads.

    DuckDB reads the files to their end to detect the types, and fails on a single bad line. Only then is each line
    checked: those that are no JSON objects, or have a key without a name, go to `reject`.
    """
    compressions = {file.compression for file in files}
    if len(compressions) > 1:
        raise BadInput("a mapping takes NDJSON files of one compression; these have different ones")
    paths = [str(file.path) for file in files]
    with translate_engine_errors(files[0].path):
        try:
            _create_record_view(reading.space, name, paths, compressions.pop())
        except (duckdb.InvalidInputException, duckdb.BinderException):
            paths = [_stage_valid_lines(reading, files)]
            try:
                _create_record_view(reading.space, name, paths, None)
            except duckdb.BinderException as error:  # such as for objects without any key
                raise BadInput(f"{files[0].path}: its objects make no table: {str(error).splitlines()[0]}") from error
    return paths


def _create_record_view(space: Workspace, name: str, paths: list[str], compression: str | None) -> None:
    """Create the view with a column a key, also where DuckDB would make a map of many keys."""
    try:
        _create_read_json_view(space, name, paths, compression)
    except duckdb.BinderException:
        _create_read_json_view(space, name, paths, compression, ", map_inference_threshold = -1")


def _create_read_json_view(
    space: Workspace, name: str, paths: list[str], compression: str | None, more: str = ""
) -> None:
    form = f"format = 'newline_delimited', records = true, compression = {quote_text(_COMPRESSIONS[compression])}{more}"
    # Else a folder's name, as `views=12`, would stand in place of what the objects say.
    # Of more than 32 files it would read the first ones alone to find columns and types: keys that are in others
    # only would be lost, and fractions rounded.
    sampled = "sample_size = -1, maximum_sample_files = -1"
    how = f"{form}, {sampled}, hive_partitioning = false"
    _create_view(space, name, f"SELECT * FROM read_json({path_list_sql(paths)}, {how})")  # noqa: S608 - all are quoted


def _stage_valid_lines(reading: Reading, files: Sequence[InputFile]) -> str:
    staged, found = reading.space.folder / "input.ndjson", False
    with translate_io_errors(staged), staged.open("wb") as into:
        for number, file in enumerate(files):
            try:
                with file.open() as stream:
                    lines = ((line, raw) for line, raw in LineReader(stream, file) if raw.strip())
                    while batch := list(islice(lines, BATCH_ROWS)):
                        good = _filter_objects(reading, batch, number)
                        found = found or bool(good)
                        into.writelines(raw + b"\n" for _, raw in good)
                        reading.meter.add_read_rows(len(good))
            except READ_ERRORS as error:
                raise BadInput(damaged_sentence(file, error)) from error
    if not found:
        raise BadInput(f"{files[0].path}: no line holds a JSON object whose keys all have a name")
    return str(staged)


def _filter_objects(reading: Reading, lines: Sequence[tuple[int, bytes]], number: int) -> list[tuple[int, bytes]]:
    """Keep lines that DuckDB reads as objects, reject others; other parsers differ."""
    session = reading.space.session
    decoded = [decode_line(raw) for _, raw in lines]
    texts = [text if reason is None or not reason.startswith(NOT_UTF8) else None for text, reason in decoded]
    session.register(_JSON_LINES, pa.table({"line": pa.array(texts, pa.string())}))
    valid = [bool(verdict) for (verdict,) in session.execute(_IS_OBJECT).fetchall()]
    session.unregister(_JSON_LINES)
    for (line, raw), (text, _), is_valid in zip(lines, decoded, valid, strict=True):
        if not is_valid:
            reason = parse_object(raw)
            if not isinstance(reason, str):
                reason = "it has a key without a name" if "" in reason else "it is no JSON that can be taken"
            reading.reject(number, line, reason, text)
    return [line for line, is_valid in zip(lines, valid, strict=True) if is_valid]
