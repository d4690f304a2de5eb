"""Windows' files into one, by a recipe: in memory that grows with neither rows nor windows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge as by_turns
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Self

from reelport.client.ranges import numbers
from reelport.client.ranges.numbers import Number
from reelport.client.ranges.rows import FAN, HELD, SLICE, Row, Unsorted, by_key, header_of, in_order, sort
from reelport.client.ranges.rules import Recipe, Way
from reelport.errors import IncompleteDownload

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge wrote: its bytes, their SHA-256 in hex, and the rows below the header (None: they were not seen)."""

    bytes: int
    sha256: str
    rows: int | None


def merge(recipe: Recipe, paths: Sequence[Path], to: Path, *, held: int = HELD) -> Iterator[Merged | None]:
    """Merge files, the oldest window first, into a new one; yields None now and then, and at last what was written.

    Rows end in the order of their cells (UTF-8 bytes, empty last), which also is the order that a
    Reelport service writes. Files in another order are sorted first. Files beside `to` that are needed on
    the way are gone in the end. Raises MergeRefused for a cell that can't be added up.
    """
    if recipe.way in {Way.ALONE, Way.APPENDED}:
        yield from _appended(paths, to)
        return
    try:
        yield from _in_turns(recipe, paths, to)
    except Unsorted:
        ordered = [to.with_name(f"{to.name}.sorted{number}") for number in range(len(paths))]
        try:
            for path, copy in zip(paths, ordered, strict=True):
                yield from sort(path, recipe.width, copy, held)
            yield from _in_turns(recipe, ordered, to)
        finally:
            _remove(ordered)


def _appended(paths: Sequence[Path], to: Path) -> Iterator[Merged | None]:
    with _Output(to) as output:
        output.write(header_of(paths[0]))
        for path in paths:
            if header_of(path) != header_of(paths[0]):
                raise IncompleteDownload(f"The header of {path.name} is another than that of {paths[0].name}.")
            with path.open("rb") as file:
                file.readline()
                closed = True
                while chunk := file.read(_CHUNK):
                    closed = chunk.endswith(b"\n")
                    output.write(chunk)
                    yield None
                if not closed:
                    output.write(b"\n")  # or the next window's first row would go on in this one's last
    yield output.written(None)


def _in_turns(recipe: Recipe, paths: Sequence[Path], to: Path) -> Iterator[Merged | None]:
    """Merge files that are in order, by way of larger ones where there are more than may be open at once."""
    between: list[Path] = []
    left = list(paths)
    summed = recipe.way is Way.SUMMED
    try:
        while len(left) > FAN:
            between.append(to.with_name(f"{to.name}.between{len(between)}"))
            some = _merged(left[:FAN], recipe.width)
            rows = _sums(recipe, some) if summed else some
            for _ in _written(rows, header_of(left[0]), between[-1]):
                yield None
            left = [*left[FAN:], between[-1]]
        rows = _merged(left, recipe.width)
        if summed:
            rows = _finished(recipe, _sums(recipe, rows))
        names = (*recipe.query.dimensions, *recipe.query.metrics)
        yield from _written(rows, ",".join(names).lower().encode() + b"\n", to)
    finally:
        _remove(between)


def _merged(paths: Sequence[Path], width: int) -> Iterator[Row]:
    return by_turns(*(in_order(path, width) for path in paths), key=by_key)


def _sums(recipe: Recipe, rows: Iterable[Row]) -> Iterator[Row]:
    """One row for each key: the sums of its rows' cells."""
    width, columns = recipe.width, recipe.asked.metrics
    for key, group in groupby(rows, key=by_key):
        cells: list[bytes] = []
        sums: list[Number] = []
        for row in group:
            if not cells:
                cells = row.cells
                continue
            sums = sums or _numbers(cells[width:], columns)
            more = _numbers(row.cells[width:], columns)
            sums = [numbers.plus(one, other) for one, other in zip(sums, more, strict=True)]
        yield Row(key, [*cells[:width], *map(numbers.text, sums)] if sums else cells)


def _finished(recipe: Recipe, rows: Iterable[Row]) -> Iterator[Row]:
    """The rows with the cells that were asked for, made of their sums."""
    width, columns = recipe.width, recipe.asked.metrics
    for key, cells in rows:
        sums = _numbers(cells[width:], columns)
        yield Row(key, [*cells[:width], *(numbers.cell(made, sums) for made in recipe.cells)])


def _numbers(cells: Sequence[bytes], columns: Sequence[str]) -> list[Number]:
    return [numbers.number(cell, column) for cell, column in zip(cells, columns, strict=True)]


def _written(rows: Iterable[Row], header: bytes, to: Path) -> Iterator[Merged | None]:
    count = 0
    with _Output(to) as output:
        output.write(header)
        for count, row in enumerate(rows, start=1):
            output.write(row.line())
            if count % SLICE == 0:
                yield None
    yield output.written(count)


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


class _Output:
    """A file that is hashed as it is written."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._lines: list[bytes] = []
        self._held = 0
        self._hash = hashlib.sha256()
        self._bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._flush()
        finally:
            self._file.close()

    def write(self, data: bytes) -> None:
        self._lines.append(data)
        self._held += len(data)
        if self._held >= _CHUNK:
            self._flush()

    def written(self, rows: int | None) -> Merged:
        """What stands in the file, once it is closed."""
        return Merged(self._bytes, self._hash.hexdigest(), rows)

    def _flush(self) -> None:
        data = b"".join(self._lines)
        self._file.write(data)
        self._hash.update(data)
        self._bytes += len(data)
        self._lines, self._held = [], 0
