"""Make NDJSON readable for a mapping: as it is, or only the lines that DuckDB can read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import duckdb
import pyarrow as pa

from reelport.errors import BadInput
from reelport.facts.data_files.duckdb_session import Workspace, path_list_sql, translate_engine_errors
from reelport.facts.input.files import READ_ERRORS, InputFile, damaged_sentence
from reelport.facts.input.progress import ProgressMeter
from reelport.facts.input.text_batches import BATCH_ROWS, LineReader, Reject, decode_line, parse_object
from reelport.facts.row_rules import quote_text
from reelport.storage.durable import translate_io_errors

_COMPRESSIONS = {None: "none", "gzip": "gzip", "zstd": "zstd"}
_LINES = "_reelport_lines"
_IS_OBJECT = f"""
    SELECT CASE WHEN json_valid(line) THEN json_type(line) = 'OBJECT' AND NOT list_contains(json_keys(line), '') END
    FROM {_LINES}
"""  # noqa: S608 - a fixed name


def create_json_view(
    space: Workspace, name: str, files: Sequence[InputFile], reject: Reject, meter: ProgressMeter
) -> list[str]:
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
            _create_record_view(space, name, paths, compressions.pop())
        except (duckdb.InvalidInputException, duckdb.BinderException):
            paths = [_stage_valid_lines(space, files, reject, meter)]
            _create_staged_view(space, name, paths, files[0])
    return paths


def _create_staged_view(space: Workspace, name: str, paths: list[str], first: InputFile) -> None:
    try:
        _create_record_view(space, name, paths, None)
    except duckdb.BinderException as error:  # such as for objects without any key
        raise BadInput(f"{first.path}: its objects make no table: {str(error).splitlines()[0]}") from error


def _create_record_view(space: Workspace, name: str, paths: list[str], compression: str | None) -> None:
    """Create the view with a column a key, also where DuckDB would make a map of many keys."""
    try:
        _create_view(space, name, paths, compression)
    except duckdb.BinderException:
        _create_view(space, name, paths, compression, ", map_inference_threshold = -1")


def _create_view(space: Workspace, name: str, paths: list[str], compression: str | None, more: str = "") -> None:
    form = f"format = 'newline_delimited', records = true, compression = {quote_text(_COMPRESSIONS[compression])}{more}"
    # Else a folder's name, as `views=12`, would stand in place of what the objects say.
    # Of more than 32 files it would read the first ones alone to find columns and types: keys that are in others
    # only would be lost, and fractions rounded.
    sampled = "sample_size = -1, maximum_sample_files = -1"
    how = f"{form}, {sampled}, hive_partitioning = false"
    space.session.execute(f"CREATE TEMP VIEW {name} AS SELECT * FROM read_json({path_list_sql(paths)}, {how})")  # noqa: S608


def _stage_valid_lines(space: Workspace, files: Sequence[InputFile], reject: Reject, meter: ProgressMeter) -> str:
    """Write the valid lines of all files to one file in the work folder; return its path."""
    staged, found = space.folder / "input.ndjson", False
    with translate_io_errors(staged), staged.open("wb") as into:
        for number, file in enumerate(files):
            for lines in _read_line_batches(file):
                good = _filter_objects(space, lines, number, reject)
                found = found or bool(good)
                into.writelines(raw + b"\n" for _, raw in good)
                meter.add_read_rows(len(good))
    if not found:
        raise BadInput(f"{files[0].path}: no line holds a JSON object whose keys all have a name")
    return str(staged)


def _read_line_batches(file: InputFile) -> Iterator[list[tuple[int, bytes]]]:
    try:
        with file.open() as stream:
            lines = ((line, raw) for line, raw in LineReader(stream, file) if raw.strip())
            while batch := list(islice(lines, BATCH_ROWS)):
                yield batch
    except READ_ERRORS as error:
        raise BadInput(damaged_sentence(file, error)) from error


def _filter_objects(
    space: Workspace, lines: Sequence[tuple[int, bytes]], number: int, reject: Reject
) -> list[tuple[int, bytes]]:
    """Keep lines that DuckDB reads as objects, reject others; other parsers differ."""
    texts = pa.table({"line": pa.array([_decode(raw) for _, raw in lines], pa.string())})
    space.session.register(_LINES, texts)
    valid = [bool(verdict) for (verdict,) in space.session.execute(_IS_OBJECT).fetchall()]
    space.session.unregister(_LINES)
    for (line, raw), is_valid in zip(lines, valid, strict=True):
        if not is_valid:
            reject(number, line, _describe_line(raw), decode_line(raw)[0])
    return [line for line, is_valid in zip(lines, valid, strict=True) if is_valid]


def _decode(raw: bytes) -> str | None:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _describe_line(raw: bytes) -> str:
    value = parse_object(raw)
    if isinstance(value, str):
        return value
    return "it has a key without a name" if "" in value else "it is no JSON that can be taken"
