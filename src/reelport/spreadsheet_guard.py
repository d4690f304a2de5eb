"""Make a CSV safe for spreadsheets: no cell begins a formula (CWE-1236, CSV injection).

A cell that begins like a formula, or would where a spreadsheet splits cells at semicolons or tabs, gets an apostrophe
before that place and quotes around it. All other bytes are unchanged, also those of numbers such as -5. A byte order
mark stands in front: without one, Excel reads the file in its country's old encoding, and garbles `é` and emoji.
"""

from __future__ import annotations

import re
from io import BytesIO

_MARK = b"\xef\xbb\xbf"
# OWASP's list, NUL of its ASVS, and the full-width signs that East Asian spreadsheets take for the same.
_BEGINS = rb"[=+\-@\t\r\n\x00]|\xef\xbc[\x9d\x8b\x8d\xa0]"
_ANY = re.compile(rb"(?:\A|[,;\t\r\n\"])(?:%b)" % _BEGINS)
"""Matches lines of which a cell may have to be changed: where there is none, they needn't be split."""
_REST = rb"(?<=[+-])\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"
"""What follows the sign of a number: `-5` begins like a formula, and is none where nothing but a `;` follows.

Blanks, tabs and line ends are white space in a formula: `-5`, a line end and `*cmd|…` are one.
"""
_SUSPECT = re.compile(
    rb"(?:^|,)(?:%(begins)b)(?!%(rest)b(?:[,;]|\r?\n?\Z))"
    rb"|[;\t\r\n](?:%(begins)b)(?!%(rest)b(?:;|\"(?!\")|\r?\n?\Z))"
    rb"|\"(?:%(begins)b)(?!%(rest)b(?:;|\"(?:[,\r\n]|\Z)))" % {b"begins": _BEGINS, b"rest": _REST}
)
"""Matches records that may have to be changed. Few do, so that few are split into cells."""
_PLACE = re.compile(
    rb"((?:^|[;\t]|[\r\n](?![\r\n]))\"*)(?=(?:%(begins)b)(?!%(rest)b(?:;|\Z)))" % {b"begins": _BEGINS, b"rest": _REST}
)
"""Matches where some spreadsheet could see the beginning of a formula inside of a cell.

Of several line ends, such as CR and LF, only what follows the last can begin one.
"""
_CELL = re.compile(
    rb'(?:\A|(?<=[,\n]))(?:"(?P<quoted>(?:[^"]|"")*+)"(?=[,\r\n]|\Z)|(?P<bare>[^,\r\n]*+(?:\r(?!\n)[^,\r\n]*+)*+))'
)


class SpreadsheetGuard:
    """Guards a CSV that comes in pieces, wherever these are cut. Keeps one record at most.

    `changed` counts the cells that were changed so far.
    """

    def __init__(self) -> None:
        self.changed = 0
        self._begun = False
        self._line: list[bytes] = []
        """Pieces of a line whose end is to come."""
        self._record: list[bytes] = []
        """Lines of a record that is inside quotes: it goes on in the next line."""
        self._is_open = False

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; return what is ready, which may be nothing."""
        if b"\n" not in data:
            self._line.append(data)
            return b""
        end = data.rindex(b"\n") + 1
        lines, self._line = b"".join((*self._line, data[:end])), [data[end:]]
        if self._begun and not self._is_open and not lines.count(b'"') & 1 and not _ANY.search(lines):
            return lines
        return b"".join(map(self._add_line, BytesIO(lines)))

    def flush(self) -> bytes:
        """Return the rest: what was given is over."""
        rest = b"".join((*self._record, *self._line))
        self._record, self._line = [], []
        return self._guard(rest) if rest else b""

    def _add_line(self, line: bytes) -> bytes:
        """Add a line; return its record where it ends there, else nothing."""
        self._is_open ^= bool(line.count(b'"') & 1)
        self._record.append(line)
        if self._is_open:
            return b""
        record = b"".join(self._record) if len(self._record) > 1 else line
        self._record = []
        return self._guard(record)

    def _guard(self, record: bytes) -> bytes:
        mark = b"" if self._begun else _MARK
        self._begun = True
        guarded, cells = _guard_record(record.removeprefix(mark))
        self.changed += cells
        return mark + guarded


def _guard_record(record: bytes) -> tuple[bytes, int]:
    if not _SUSPECT.search(record):
        return record, 0
    changed = 0

    def guard_cell(cell: re.Match[bytes]) -> bytes:
        nonlocal changed
        text = cell["quoted"] if cell["quoted"] is not None else cell["bare"].replace(b'"', b'""')
        safe = _PLACE.sub(rb"\1'", text)
        changed += safe != text
        return cell[0] if safe == text else b'"' + safe + b'"'

    return _CELL.sub(guard_cell, record), changed
