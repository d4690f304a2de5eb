"""Read CSV and NDJSON as Arrow batches of texts, with file and line of each record.

Lines are numbered and read in bounded memory. CSV follows RFC 4180; numbers in JSON keep their spelling, so that
nothing is rounded. A line that is no record is rejected alone, with a reason.
"""

from __future__ import annotations

import csv
import json
import shlex
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv

from reelport.errors import BadInput
from reelport.facts.input.files import READ_ERRORS, FileFormat, InputFile, OpenedFile, ProgressMeter, damaged_sentence
from reelport.facts.row_rules import FILE, LINE
from reelport.wording import format_count

_CHUNK = 1 << 22
_LONGEST_LINE = 1 << 24
"""The most bytes that one line may have."""
_MARK = b"\xef\xbb\xbf"
_LONGEST_RECORD = 1 << 20
"""The most bytes of a record with line breaks inside quotes; beyond it the quote counts as unclosed."""

NOT_UTF8 = "it is not UTF-8"

Record = tuple[int, list[str] | str, str]
"""The line where the record begins, its fields or the reason why it is broken, and its raw text."""
BATCH_ROWS = 20_000

Reject = Callable[[int, int, str, str], None]
"""Called for each broken line with the number of its file, the line, the reason and the raw text."""


class LineReader:
    """Iterates over numbered lines, from 1, without line feeds and without a UTF-8 BOM."""

    def __init__(self, stream: OpenedFile, file: InputFile) -> None:
        self._stream = stream
        self._file = file
        self._rest = b""
        self._started = False
        self._ended = False
        self._next = 1
        self._given_back: deque[tuple[int, bytes]] = deque()

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        while True:
            if not self._given_back:
                read = self._read()
                if read is None:
                    return
                self._given_back.extend(enumerate(read[1], read[0]))
                continue
            yield self._given_back.popleft()

    def read_block(self) -> tuple[int, list[bytes]] | None:
        """Read all lines in memory, after the number of the first; None at the end."""
        if self._given_back:
            first = self._given_back[0][0]
            lines = [line for _, line in self._given_back]
            self._given_back.clear()
            return first, lines
        return self._read()

    def push_back(self, first: int, lines: list[bytes]) -> None:
        """Push lines back, to be read again before all others."""
        self._given_back.extendleft(reversed(list(enumerate(lines, first))))

    def _read(self) -> tuple[int, list[bytes]] | None:
        while not self._ended:
            chunk = self._stream.read(_CHUNK)
            if not self._started:
                chunk = chunk.removeprefix(_MARK)
                self._started = True
            self._ended = not chunk
            lines = (self._rest + chunk).split(b"\n")
            self._rest = b"" if self._ended else lines.pop()
            if self._ended and lines == [b""]:
                return None
            if len(self._rest) > _LONGEST_LINE:
                where = self._next + len(lines)
                raise BadInput(f"{self._file.path}: line {where} is longer than {_LONGEST_LINE >> 20} MiB")
            if lines:
                first, self._next = self._next, self._next + len(lines)
                return first, lines
        return None


def read_records(lines: LineReader, before: int | None = None) -> Iterator[Record]:
    """Yield each record that begins before the line `before`; empty lines are skipped."""
    for line, raw in lines:
        if before is not None and line >= before:
            lines.push_back(line, [raw])
            return
        if not raw.strip(b"\r\n"):
            continue
        if b'"' in raw:
            yield _read_quoted_record(lines, line, raw)
            continue
        text, reason = decode_line(raw.removesuffix(b"\r"))
        yield line, (reason or text.split(",")), text


def decode_line(raw: bytes) -> tuple[str, str | None]:
    """Decode a line; return its text, and the reason why it must be rejected, if any."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return raw.decode("utf-8", "backslashreplace"), _describe_byte(raw, error)
    if "\0" in text:
        return text, "it holds a NUL character"
    if "\r" in text:
        return text, "it holds a bare carriage return"
    return text, None


def _describe_byte(raw: bytes, error: UnicodeDecodeError) -> str:
    return f"{NOT_UTF8} (byte 0x{raw[error.start]:02x} at {error.start + 1})"


def add_conversion(reason: str) -> str:
    """Add how to convert a file to the reason that `decode_line` gives for its first line."""
    if not reason.startswith(NOT_UTF8):
        return reason
    return f"{reason}: convert the file to UTF-8 (iconv -f ISO-8859-1 -t UTF-8, or -f with the encoding that it is in)"


def _read_quoted_record(lines: LineReader, line: int, raw: bytes) -> Record:
    taken = [raw]

    def feed() -> Iterator[str]:
        size = len(raw)
        yield _decode_strictly(raw)
        for _, part in lines:
            taken.append(part)
            size += len(part)
            if size > _LONGEST_RECORD:
                raise csv.Error("a quote is opened and not closed")
            yield _decode_strictly(part)

    try:
        fields = next(csv.reader(feed(), strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        # Reject the first line only: the lines that its open quote took in are read again.
        if len(taken) > 1:
            lines.push_back(line + 1, taken[1:])
        text, undecodable = decode_line(raw.removesuffix(b"\r"))
        return line, undecodable or _describe_error(error, len(taken)), text
    if any("\0" in field for field in fields):
        return line, "it holds a NUL character", "\n".join(part.decode() for part in taken)
    return line, fields, "\n".join(part.decode() for part in taken)


def _decode_strictly(raw: bytes) -> str:
    return raw.decode("utf-8") + "\n"


def _describe_error(error: Exception, lines: int) -> str:
    if "expected after" in str(error):
        return "a stray quote: a quoted field must end before a comma or the line's end"
    if "field limit" in str(error) and lines == 1:
        return f"a field is longer than {csv.field_size_limit():,} characters"
    if (
        lines > 1
        or isinstance(error, UnicodeDecodeError)
        or "unexpected end" in str(error)
        or "not closed" in str(error)
    ):
        return "a quote is opened and not closed"
    return f"it is no CSV record: {error}"


class _Number(str):
    """A JSON number, with its spelling kept."""

    __slots__ = ()


_DECODER = json.JSONDecoder(parse_float=_Number, parse_int=_Number, parse_constant=_Number)


def parse_object(raw: bytes) -> dict[str, Any] | str:
    """Parse a line as a JSON object; return it, or the reason why the line is refused."""
    try:
        value = _DECODER.decode(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        return _describe_byte(raw, error)
    except RecursionError:
        return "it is nested too deep"
    except ValueError as error:
        return f"it is no JSON: {error}"
    return value if isinstance(value, dict) else "it is no JSON object"


def _parse_row(raw: bytes, known: frozenset[str]) -> dict[str, str | None] | str:
    """Parse a line as a row; return the row, or the reason why the line is refused."""
    value = parse_object(raw)
    if isinstance(value, str):
        return value
    # Perhaps too many (a colon in a text), never too few.
    keys = raw.count(b'":') + raw.count(b'" ') + raw.count(b'"\t')
    if keys > len(value) and (twice := _find_repeated_keys(raw)):
        return f"{twice[0]}: the line has this key more than once"
    problems = [] if value.keys() <= known else [f"unknown column {name!r}" for name in value if name not in known]
    for name, one in value.items():
        if one is None or isinstance(one, str):
            continue
        if isinstance(one, list) and all(part is None or isinstance(part, str) for part in one):
            value[name] = json.dumps([part for part in one if part is not None], ensure_ascii=False)
            continue
        what = "true or false" if isinstance(one, bool) else "nested"
        problems.append(f"{name}: a value that is {what} can't be taken")
        value[name] = None
    if b"\\u" in raw:
        problems += [f"{name}: {why}" for name, one in value.items() if (why := _find_bad_text(one))]
    return "; ".join(problems) or value


def _find_repeated_keys(raw: bytes) -> list[str]:
    twice: list[str] = []

    def note(pairs: list[tuple[str, object]]) -> None:
        seen = [name for name, _ in pairs]
        twice.extend(name for name in dict.fromkeys(seen) if seen.count(name) > 1)

    json.loads(raw, object_pairs_hook=note)
    return twice


def _find_bad_text(text: str | None) -> str | None:
    if text is None:
        return None
    if "\0" in text:
        return "it holds a NUL character"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "it holds half a character (a lone surrogate)"
    return None


def read_header(file: InputFile) -> tuple[str, ...]:
    """Read a text file's column names: its CSV header, or its first NDJSON object's keys."""
    try:
        with file.open() as stream:
            lines = LineReader(stream, file)
            if file.format is FileFormat.CSV:
                return _read_csv_header(lines, file)
            for _, raw in lines:
                if raw.strip() and isinstance(value := parse_object(raw), dict):
                    return tuple(value)
        raise BadInput(f"{file.path}: no line holds a JSON object")
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
            made = _parse_row(text, known)
            if isinstance(made, str):
                reject(number, line, made, decode_line(text)[0])
            else:
                rows.append(made)
                at.append(line)
        if rows:
            yield _make_batch(pa.array(rows, shape).flatten(), number, at, names)
