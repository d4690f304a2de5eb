"""Read CSV records strictly by RFC 4180; a broken line is rejected alone, with a reason."""

from __future__ import annotations

import csv
from collections.abc import Iterator

from reelport.facts.input.lines import LineReader

LONGEST_RECORD = 1 << 20
"""The most bytes of a record with line breaks inside quotes; beyond it the quote counts as unclosed."""

_NOT_UTF8 = "it is not UTF-8"

Record = tuple[int, list[str] | str, str]
"""The line where the record begins, its fields or the reason why it is broken, and its raw text."""


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
        return raw.decode(
            "utf-8", "backslashreplace"
        ), f"{_NOT_UTF8} (byte 0x{raw[error.start]:02x} at {error.start + 1})"
    if "\0" in text:
        return text, "it holds a NUL character"
    if "\r" in text:
        return text, "it holds a bare carriage return"
    return text, None


def add_conversion(reason: str) -> str:
    """Add how to convert a file to the reason that `decode_line` gives for its first line."""
    if not reason.startswith(_NOT_UTF8):
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
            if size > LONGEST_RECORD:
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
