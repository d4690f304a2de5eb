"""Read and sort rows of CSV files as bytes, each with its sort key.

Cells stay as the service wrote them: sorting changes no byte of a row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import BinaryIO, NamedTuple

from reelport.errors import IncompleteDownload

_HEADER_BYTES = 1 << 16
_LONGEST = 64 << 20  # most bytes of one row: a longer one means a quote that never closes
_LAST = b"\xff\xff"  # replaces an empty cell in a key: sorts after all UTF-8 text, which never begins with these bytes
_CELL = re.compile(rb'"((?:[^"]|"")*+)"[^,]*+|[^,]*+')
_OVERHEAD = 300  # bytes of memory that a row takes beside its text; each cell takes a third of that more


class Row(NamedTuple):
    """One row: its sort key, and its cells as written in the file."""

    key: tuple[bytes, ...]
    cells: list[bytes]

    def line(self) -> bytes:
        """Format the row as a line."""
        return b",".join(self.cells) + b"\n"


by_key = attrgetter("key")


class Unsorted(Exception):
    """A file's rows aren't sorted by their keys: sort the file and begin again."""


def read_rows(path: Path, width: int) -> Iterator[Row]:
    """Yield a file's rows, the first `width` cells as key; holds one row at a time."""
    with path.open("rb", buffering=1 << 18) as file:
        columns = len(_split_cells(file.readline(_HEADER_BYTES)))
        for line in _read_lines(file):
            cells = _split_cells(line)
            if len(cells) != columns:
                raise IncompleteDownload(f"A row of {path.name} has {len(cells)} cells where its header has {columns}.")
            key = tuple([(_unquote(cell) if cell.startswith(b'"') else cell) or _LAST for cell in cells[:width]])
            yield Row(key, cells)


def read_sorted_rows(path: Path, width: int) -> Iterator[Row]:
    """Yield a file's rows. Raises Unsorted where a key is less than the one before it."""
    last: tuple[bytes, ...] = ()
    for row in read_rows(path, width):
        if row.key < last:
            raise Unsorted
        last = row.key
        yield row


def sort_runs(path: Path, width: int, held: int) -> Iterator[list[Row]]:
    """Yield a file's rows in runs of at most `held` bytes, each sorted by key, stably."""
    run: list[Row] = []
    size = 0
    for row in read_rows(path, width):
        run.append(row)
        size += sum(map(len, row.cells)) + _OVERHEAD + len(row.cells) * _OVERHEAD // 3
        if size >= held:
            run.sort(key=by_key)
            yield run
            run, size = [], 0
    run.sort(key=by_key)
    yield run


def read_header(path: Path) -> bytes:
    """Read the first line of a file, ending in a newline."""
    with path.open("rb") as file:
        return file.readline(_HEADER_BYTES).rstrip(b"\r\n") + b"\n"


def _unquote(cell: bytes) -> bytes:
    found = _CELL.fullmatch(cell)
    return found[1].replace(b'""', b'"') if found and found[1] is not None else cell


def _read_lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield each row's bytes: as many lines as its quotes span."""
    for line in file:
        if line.count(b'"') % 2 == 0:
            yield line
            continue
        pieces, quotes, size = [line], line.count(b'"'), len(line)
        while quotes % 2:
            more = next(file, b"")
            size += len(more)
            if not more or size > _LONGEST:
                raise IncompleteDownload("A quote never closes: the file isn't whole.")
            quotes += more.count(b'"')
            pieces.append(more)
        yield b"".join(pieces)


def _split_cells(line: bytes) -> list[bytes]:
    line = line.removesuffix(b"\n").removesuffix(b"\r")
    if b'"' not in line:
        return line.split(b",")
    cells, place = [], 0
    while True:
        found = _CELL.match(line, place)
        assert found is not None  # noqa: S101 - the pattern matches the empty text
        cells.append(found[0])
        place = found.end() + 1
        if place > len(line):
            return cells
