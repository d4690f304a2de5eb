"""Make a CSV safe for spreadsheets: no cell begins a formula (CWE-1236, CSV injection).

A cell that begins like a formula, or would where a spreadsheet splits cells at semicolons or tabs, gets an apostrophe
before that place and quotes around it. All other bytes are unchanged, also those of numbers such as -5.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

_MARK = b"\xef\xbb\xbf"
# OWASP's list, NUL of its ASVS, and the full-width signs that East Asian spreadsheets take for the same.
_BEGINS = rb"[=+\-@\t\r\n\x00]|\xef\xbc[\x9d\x8b\x8d\xa0]"
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
    rb"((?:^|[;\t\r\n])\"*)(?=(?:%(begins)b)(?!%(rest)b(?:;|\Z)))" % {b"begins": _BEGINS, b"rest": _REST}
)
"""Matches where some spreadsheet could see the beginning of a formula inside of a cell."""
_CELL = re.compile(
    rb'(?:\A|(?<=[,\n]))(?:"(?P<quoted>(?:[^"]|"")*+)"(?=[,\r\n]|\Z)|(?P<bare>[^,\r\n]*+(?:\r(?!\n)[^,\r\n]*+)*+))'
)


def write_guarded(report: Path, to: SupportsWrite[bytes]) -> int:
    """Write a CSV so that no cell begins a formula; return how many cells were changed."""
    changed = 0
    with report.open("rb") as file:
        mark = file.read(len(_MARK))
        if mark == _MARK:
            to.write(mark)
        else:
            file.seek(0)
        for record in _split_records(file):
            guarded, cells = _guard_record(record)
            to.write(guarded)
            changed += cells
    return changed


def _split_records(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Split lines into records: a line that ends inside quotes continues in the next."""
    held: list[bytes] = []
    open_ = False
    for line in lines:
        open_ ^= bool(line.count(b'"') & 1)
        held.append(line)
        if not open_:
            yield b"".join(held) if len(held) > 1 else line
            held = []
    if held:
        yield b"".join(held)


def _guard_record(record: bytes) -> tuple[bytes, int]:
    """Guard a record; return it with the number of changed cells."""
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
