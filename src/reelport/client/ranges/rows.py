"""Rows of CSV files as bytes, each with the key that it is sorted by; and files whose rows are not in that order.

Cells stay as the service wrote them: what is only put in order leaves with the bytes that it came with.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from heapq import merge
from operator import attrgetter
from pathlib import Path
from typing import BinaryIO, NamedTuple

from reelport.errors import IncompleteDownload

_HEADER_BYTES = 1 << 16
_LONGEST = 64 << 20
"""Bytes of one row at most: more is no report but a quote that never closes."""

_LAST = b"\xff\xff"
"""Stands for an empty cell in a key: no UTF-8 begins so, and it comes after all that does."""

_CELL = re.compile(rb'"((?:[^"]|"")*+)"[^,]*+|[^,]*+')
_OVERHEAD = 300
"""Bytes that a row in memory takes beside its own, and for each of its cells a third of that."""

FAN = 64
"""Files that are read at the same time at most."""

HELD = 128 << 20
"""Bytes of rows that a sort holds in memory at most; what is more goes to files of its own."""


class Row(NamedTuple):
    """One row: the key that it is sorted by, and its cells as they were written."""

    key: tuple[bytes, ...]
    cells: list[bytes]

    def line(self) -> bytes:
        """The row as a line."""
        return b",".join(self.cells) + b"\n"


by_key = attrgetter("key")


class Unsorted(Exception):
    """A file's rows are not in the order of their keys: sort it and begin again."""


def rows(path: Path, width: int) -> Iterator[Row]:
    """The rows of a file below its header, each with its first `width` cells as key; holds one at a time."""
    with path.open("rb", buffering=1 << 18) as file:
        columns = len(_cells(file.readline(_HEADER_BYTES)))
        for line in _lines(file):
            cells = _cells(line)
            if len(cells) != columns:
                raise IncompleteDownload(f"A row of {path.name} has {len(cells)} cells where its header has {columns}.")
            yield Row(_key(cells[:width]), cells)


def in_order(path: Path, width: int) -> Iterator[Row]:
    """The same, raising Unsorted where a row comes before the one above it."""
    last: tuple[bytes, ...] = ()
    for row in rows(path, width):
        if row.key < last:
            raise Unsorted
        last = row.key
        yield row


def sort(path: Path, width: int, to: Path, held: int = HELD) -> Iterator[None]:
    """Write a file's rows to another in the order of their keys, equal ones as they came; yields now and then.

    Holds `held` bytes of rows at most: what is more goes to files beside `to`, which are gone in the end.
    """
    header = header_of(path)
    runs: list[Path] = []
    try:
        for run in _runs(path, width, held):
            runs.append(to.with_name(f"{to.name}.{len(runs)}"))
            with runs[-1].open("wb") as file:
                file.write(header)
                file.writelines(row.line() for row in run)
            yield
        while len(runs) > FAN:
            some, runs = runs[:FAN], runs[FAN:]
            joined = some[0].with_name(f"{some[0].name}+")
            runs.insert(0, joined)
            yield from _joined(some, width, joined, header)
        yield from _joined(runs, width, to, header)
    finally:
        for run_file in runs:
            run_file.unlink(missing_ok=True)


def header_of(path: Path) -> bytes:
    """The first line of a file, with its end."""
    with path.open("rb") as file:
        return file.readline(_HEADER_BYTES).rstrip(b"\r\n") + b"\n"


def count_columns(path: Path) -> int:
    """How many cells the header of a file has."""
    return len(_cells(header_of(path)))


def _joined(runs: list[Path], width: int, to: Path, header: bytes) -> Iterator[None]:
    with to.open("wb", buffering=1 << 20) as file:
        file.write(header)
        for number, row in enumerate(merge(*(rows(run, width) for run in runs), key=by_key)):
            file.write(row.line())
            if number % SLICE == 0:
                yield
    for run in runs:
        run.unlink()


SLICE = 20_000
"""Rows after which a long piece of work lets others look whether it shall go on."""


def _runs(path: Path, width: int, held: int) -> Iterator[list[Row]]:
    run: list[Row] = []
    size = 0
    for row in rows(path, width):
        run.append(row)
        size += sum(map(len, row.cells)) + _OVERHEAD + len(row.cells) * _OVERHEAD // 3
        if size >= held:
            run.sort(key=by_key)
            yield run
            run, size = [], 0
    run.sort(key=by_key)
    yield run


def _key(cells: list[bytes]) -> tuple[bytes, ...]:
    return tuple([(_plain(cell) if cell.startswith(b'"') else cell) or _LAST for cell in cells])


def _plain(cell: bytes) -> bytes:
    """What a cell in quotes holds."""
    found = _CELL.fullmatch(cell)
    return found[1].replace(b'""', b'"') if found and found[1] is not None else cell


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Each row: as many lines as it takes for its quotes to close."""
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


def _cells(line: bytes) -> list[bytes]:
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
