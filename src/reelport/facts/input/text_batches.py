"""Read CSV and NDJSON as Arrow batches of texts, with file and line of each record.

A line that is no record is rejected with a reason.
"""

from __future__ import annotations

import csv
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import pyarrow as pa
import pyarrow.csv as pacsv

from reelport.errors import BadInput
from reelport.facts.input.csv_records import Record, add_conversion, decode_line, read_records
from reelport.facts.input.files import READ_ERRORS, FileFormat, InputFile, damaged_sentence
from reelport.facts.input.json_rows import parse_object, parse_row
from reelport.facts.input.lines import LineReader
from reelport.facts.input.load_query import FILE, LINE
from reelport.facts.input.progress import ProgressMeter
from reelport.wording import format_count

BATCH_ROWS = 20_000

Reject = Callable[[int, int, str, str], None]
"""Called for each broken line with the number of its file, the line, the reason and the raw text."""


def read_header(file: InputFile) -> tuple[str, ...]:
    """Read a text file's column names: its CSV header, or its first NDJSON object's keys."""
    try:
        with file.open() as stream:
            lines = LineReader(stream, file)
            if file.format is FileFormat.CSV:
                return _read_csv_header(lines, file)
            return _read_first_keys(lines, file)
    except READ_ERRORS as error:
        raise BadInput(damaged_sentence(file, error)) from error


def _read_csv_header(lines: LineReader, file: InputFile) -> tuple[str, ...]:
    record = next(read_records(lines), None)
    if record is None or isinstance(record[1], str):
        reason = add_conversion(str(record[1])) if record else "it is empty"
        raise BadInput(f"{file.path}: the header can't be read: {reason}")
    names = tuple(record[1])
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        raise BadInput(f"{file.path}: the header names {', '.join(map(repr, repeated))} more than once")
    for mark, plural in ((";", "semicolons"), ("\\t", "tabs"), ("|", "bars")):
        if len(names) == 1 and mark.replace("\\t", "\t") in names[0]:
            raise BadInput(
                f"{file.path}: its columns are separated by {plural}; CSV here means commas. This converts it: "
                f"{_make_converting_command(file, mark)}"
            )
    return names


def _make_converting_command(file: InputFile, mark: str) -> str:
    """Make a shell command that writes the file with commas beside it, by Python alone."""
    made = shlex.quote(str(file.path.with_name(f"{file.name.split('.')[0]}.commas.csv")))
    named = shlex.quote(str(file.path))
    code = f"import csv, sys; csv.writer(sys.stdout).writerows(csv.reader(sys.stdin, delimiter='{mark}'))"
    if file.compression is None:
        return f'python3 -c "{code}" < {named} > {made}'
    return f'{file.compression} -dc {named} | python3 -c "{code}" > {made}'


def _read_first_keys(lines: LineReader, file: InputFile) -> tuple[str, ...]:
    for _, raw in lines:
        if raw.strip() and isinstance(value := parse_object(raw), dict):
            return tuple(value)
    raise BadInput(f"{file.path}: no line holds a JSON object")


def read_batches(
    files: Sequence[tuple[int, InputFile]], names: tuple[str, ...], reject: Reject, meter: ProgressMeter
) -> Iterator[pa.RecordBatch]:
    """Read the records of files that have these columns, as text; broken lines go to `reject`.

    The columns of a CSV may be in another order there. Raises BadInput when a file is truncated or damaged.
    """
    for number, file in files:
        try:
            with file.open() as stream:
                lines = LineReader(stream, file)
                read = _read_csv_batches if file.format is FileFormat.CSV else _read_json_batches
                for batch in read(lines, number, names, reject):
                    meter.set_position(number, stream.position)
                    yield batch
                meter.set_position(number, file.size)
        except READ_ERRORS as error:
            raise BadInput(damaged_sentence(file, error)) from error


def text_schema(names: Sequence[str]) -> pa.Schema:
    """Make the schema of the batches: the columns as text, then file and line."""
    places = [pa.field(FILE, pa.int32()), pa.field(LINE, pa.int64())]
    return pa.schema([*(pa.field(name, pa.string()) for name in names), *places])


def _make_batch(
    columns: Sequence[pa.Array], number: int, at: Sequence[int] | pa.Array, names: Sequence[str]
) -> pa.RecordBatch:
    places = [pa.repeat(pa.scalar(number, pa.int32()), len(at)), pa.array(at, pa.int64())]
    return pa.RecordBatch.from_arrays([*columns, *places], schema=text_schema(names))


def _read_csv_batches(
    lines: LineReader, number: int, names: tuple[str, ...], reject: Reject
) -> Iterator[pa.RecordBatch]:
    header = next(read_records(lines))[1]
    own = tuple(header) if isinstance(header, list) else names
    if sorted(own) != sorted(names):  # the file has changed since its header was read, which ends the load
        own = names
    order = [*(own.index(name) for name in names), len(names), len(names) + 1]
    for batch in _read_csv_records(lines, number, own, reject):
        yield batch if own == names else batch.select(order)


def _read_csv_records(
    lines: LineReader, number: int, names: tuple[str, ...], reject: Reject
) -> Iterator[pa.RecordBatch]:
    while block := lines.read_block():
        first, raw = block
        columns = _parse_unquoted(raw, names) or _parse_quoted(raw, names)
        if columns is not None:
            yield _make_batch(columns, number, pa.array(range(first, first + len(raw)), pa.int64()), names)
            continue
        lines.push_back(first, raw)
        last = first + len(raw)
        checked = read_records(lines, before=last)
        while rows := list(islice(checked, BATCH_ROWS)):
            if made := _check_records(rows, number, names, reject):
                yield made


def _parse_unquoted(raw: Sequence[bytes], names: Sequence[str]) -> list[pa.Array] | None:
    """Parse lines without quotes fast, all at once; None when a line needs the strict parser."""
    text = b"\n".join(raw)
    if b'"' in text or b"\0" in text or b"\n\n" in text or text.startswith(b"\n") or text.endswith(b"\n"):
        return None
    if text.count(b"\r"):
        text = text.replace(b"\r\n", b"\n").removesuffix(b"\r")
        if b"\r" in text or b"\n\n" in text:
            return None
    try:
        table = pacsv.read_csv(
            pa.BufferReader(text),
            read_options=pacsv.ReadOptions(column_names=list(names), block_size=max(len(text) + 1, 1 << 16)),
            parse_options=pacsv.ParseOptions(quote_char=False, ignore_empty_lines=False),
            convert_options=pacsv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
        )
    except pa.ArrowInvalid:
        return None
    if table.num_rows != len(raw):
        return None
    return [column.combine_chunks() for column in table.columns]


def _parse_quoted(raw: Sequence[bytes], names: Sequence[str]) -> list[pa.Array] | None:
    """Parse lines that are complete records, with quotes; None where the strict parser must."""
    if any(line.count(b'"') & 1 or b"\0" in line for line in raw):
        return None
    try:
        rows = list(csv.reader((line.decode() for line in raw), strict=True))
        columns = list(zip(*rows, strict=True))
    except (csv.Error, UnicodeDecodeError, ValueError):
        return None
    if len(rows) != len(raw) or len(columns) != len(names):
        return None
    return [pa.array(column, pa.string()) for column in columns]


def _check_records(rows: Sequence[Record], number: int, names: Sequence[str], reject: Reject) -> pa.RecordBatch | None:
    good, at = [], []
    for line, fields, raw in rows:
        if isinstance(fields, str):
            reject(number, line, fields, raw)
        elif len(fields) != len(names):
            reject(number, line, f"it has {format_count(len(fields), 'field')}, the header has {len(names)}", raw)
        else:
            good.append(fields)
            at.append(line)
    if not good:
        return None
    return _make_batch([pa.array(column, pa.string()) for column in zip(*good, strict=True)], number, at, names)


def _read_json_batches(
    lines: LineReader, number: int, names: tuple[str, ...], reject: Reject
) -> Iterator[pa.RecordBatch]:
    known, shape = frozenset(names), pa.struct([pa.field(name, pa.string()) for name in names])
    while block := lines.read_block():
        first, raw = block
        rows: list[dict[str, str | None]] = []
        at: list[int] = []
        for line, text in enumerate(raw, first):
            if not text.strip():
                continue
            made = parse_row(text, known)
            if isinstance(made, str):
                reject(number, line, made, decode_line(text)[0])
            else:
                rows.append(made)
                at.append(line)
        if rows:
            yield _make_batch(pa.array(rows, shape).flatten(), number, at, names)
