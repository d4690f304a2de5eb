"""NDJSON for a mapping: the files as they are, or what of their lines the engine can read, the others set aside."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import islice

import duckdb
import pyarrow as pa

from reelport.errors import BadInput
from reelport.facts.durable import translate_io_errors
from reelport.facts.input.csv_records import decode_line
from reelport.facts.input.files import READ_ERRORS, InputFile, damaged_sentence
from reelport.facts.input.json_places import ObjectPlaces
from reelport.facts.input.json_rows import parse_json
from reelport.facts.input.lines import LineReader
from reelport.facts.input.progress import ProgressMeter
from reelport.facts.input.text_batches import BATCH_ROWS, Reject
from reelport.facts.rules import quote_text
from reelport.facts.storage.duckdb_session import Workspace, path_list_sql, translate_engine_errors

_PACKINGS = {None: "none", "gzip": "gzip", "zstd": "zstd"}
_LINES = "_reelport_lines"
_SOUND = f"SELECT CASE WHEN json_valid(line) THEN json_type(line) = 'OBJECT' END FROM {_LINES}"  # noqa: S608 - a fixed name


def create_json_view(
    space: Workspace, name: str, files: Sequence[InputFile], reject: Reject, meter: ProgressMeter, places: ObjectPlaces
) -> list[str]:
    """Make a view of the files' objects, with the types that they show; the paths that it reads.

    To see the types the engine reads the files to their end, and refuses all of them for one bad line: only then
    are the lines looked at one by one, and those that are no JSON objects go to `reject`; `places` are told of them.
    """
    packings = {file.compression for file in files}
    if len(packings) > 1:
        raise BadInput("a mapping takes NDJSON files of one compression; these have different ones")
    paths = [str(file.path) for file in files]
    with translate_engine_errors(files[0].path):
        try:
            _create_view(space, name, paths, packings.pop())
        except (duckdb.InvalidInputException, duckdb.BinderException):
            paths = [_stage_valid_lines(space, files, reject, meter, places)]
            _create_view(space, name, paths, None)
    return paths


def _create_view(space: Workspace, name: str, paths: list[str], packing: str | None) -> None:
    form = f"format = 'newline_delimited', records = true, compression = {quote_text(_PACKINGS[packing])}"
    space.session.execute(
        f"CREATE TEMP VIEW {name} AS SELECT * FROM read_json({path_list_sql(paths)}, {form}, sample_size = -1)"  # noqa: S608
    )


def _stage_valid_lines(
    space: Workspace, files: Sequence[InputFile], reject: Reject, meter: ProgressMeter, places: ObjectPlaces
) -> str:
    """A file of the sound lines of all of them."""
    staged, found = space.folder / "input.ndjson", False
    with translate_io_errors(staged), staged.open("wb") as into:
        for number, file in enumerate(files):
            last, others = 0, array("q")
            for lines in _read_line_batches(file):
                good = _filter_objects(space, lines, number, reject)
                found = found or bool(good)
                into.writelines(raw + b"\n" for _, raw in good)
                others.extend(_lines_between(last, [line for line, _ in good], lines[-1][0]))
                last = lines[-1][0]
                meter.add_read_rows(len(good))
            places.add_file(last, others)
    if not found:
        raise BadInput(f"{files[0].path}: no line holds a JSON object")
    return str(staged)


def _lines_between(last: int, good: Sequence[int], end: int) -> Iterator[int]:
    """The lines after `last`, up to the end, that aren't good."""
    for line in (*good, end + 1):
        yield from range(last + 1, line)
        last = line


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
    """The lines that the engine takes for objects: its own word for it, as other parsers know other JSON."""
    texts = pa.table({"line": pa.array([_decode(raw) for _, raw in lines], pa.string())})
    space.session.register(_LINES, texts)
    sound = [bool(verdict) for (verdict,) in space.session.execute(_SOUND).fetchall()]
    space.session.unregister(_LINES)
    for (line, raw), verdict in zip(lines, sound, strict=True):
        if not verdict:
            reject(number, line, _describe_line(raw), decode_line(raw)[0])
    return [line for line, verdict in zip(lines, sound, strict=True) if verdict]


def _decode(raw: bytes) -> str | None:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _describe_line(raw: bytes) -> str:
    try:
        value = parse_json(raw)
    except ValueError as reason:
        return str(reason)
    return "it is no JSON that can be taken" if isinstance(value, dict) else "it is no JSON object"
