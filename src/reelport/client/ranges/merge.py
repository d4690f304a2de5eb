"""Merge windows' files into one by a merge plan, in memory that grows with neither rows nor windows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from heapq import merge as by_turns
from itertools import groupby
from pathlib import Path
from typing import Protocol

from reelport.client.ranges import numbers
from reelport.client.ranges.duckdb_merge import Declined, order_rows, remove_folder
from reelport.client.ranges.numbers import Number
from reelport.client.ranges.rows import FAN, HELD, SLICE, Row, Unsorted, by_key, header_of, in_order, sort
from reelport.client.ranges.rules import MergePlan, MergeRule
from reelport.errors import IncompleteDownload

_CHUNK = 1 << 20

WORTH = 1 << 20
"""Fewest bytes of files for which loading DuckDB pays; Python merges fewer in a moment."""

_log = logging.getLogger("reelport")


class Output(Protocol):
    """The destination of the merged file."""

    def write(self, data: bytes) -> None:
        """Append bytes."""

    def rewind(self) -> None:
        """Drop everything written so far."""


def merge(
    recipe: MergePlan, paths: Sequence[Path], output: Output, scratch: Path, *, held: int = HELD, worth: float = WORTH
) -> Generator[None]:
    """Merge files, given with the oldest window first, into the output; yields between slices of work.

    Writes rows in the order of their cells (UTF-8 bytes, empty last), as a Reelport service does, and sorts files in
    another order first. DuckDB merges where it is installed, the files have `worth` bytes, and its bytes are sure to
    be the same; otherwise Python merges. Temporary files go to the folder `scratch` and are removed in the end.
    Raises MergeRefused for a cell that can't be added up.
    """
    if recipe.way in {MergeRule.ALONE, MergeRule.APPENDED}:
        yield from _append(paths, output)
        return
    if sum(path.stat().st_size for path in paths) >= worth:
        try:
            yield from _by_duckdb(recipe, paths, output, scratch)
        except Declined as declined:
            _log.info("merging without DuckDB: %s", declined)
        else:
            return
    yield from _by_python(recipe, paths, output, scratch, held)


def _by_duckdb(recipe: MergePlan, paths: Sequence[Path], output: Output, scratch: Path) -> Generator[None]:
    try:
        ordered = yield from order_rows(recipe, paths, scratch)
        output.write(_header(recipe))
        with ordered.open("rb") as file:
            while chunk := file.read(_CHUNK):
                output.write(chunk)
                yield
    finally:
        remove_folder(scratch)


def _by_python(
    recipe: MergePlan, paths: Sequence[Path], output: Output, scratch: Path, held: int = HELD
) -> Generator[None]:
    try:
        yield from _in_turns(recipe, paths, output, scratch)
    except Unsorted:
        output.rewind()
        ordered = [scratch / f"sorted.{number}" for number in range(len(paths))]
        try:
            for path, copy in zip(paths, ordered, strict=True):
                yield from sort(path, recipe.width, copy, held)
            yield from _in_turns(recipe, ordered, output, scratch)
        finally:
            _remove(ordered)


def _append(paths: Sequence[Path], output: Output) -> Generator[None]:
    header = header_of(paths[0])
    output.write(header)
    for path in paths:
        if header_of(path) != header:
            raise IncompleteDownload(f"The header of {path.name} is another than that of {paths[0].name}.")
        with path.open("rb") as file:
            file.readline()
            closed = True
            while chunk := file.read(_CHUNK):
                closed = chunk.endswith(b"\n")
                output.write(chunk)
                yield
            if not closed:
                output.write(b"\n")  # or the next window's first row would continue this one's last


def _in_turns(recipe: MergePlan, paths: Sequence[Path], output: Output, scratch: Path) -> Generator[None]:
    """Merge sorted files; where there are too many to open at once, merge groups into larger files first."""
    between: list[Path] = []
    left = list(paths)
    summed = recipe.way is MergeRule.SUMMED
    try:
        while len(left) > FAN:
            # Group neighbours, so that among rows with equal keys the oldest window's stays first.
            groups = [left[start : start + FAN] for start in range(0, len(left), FAN)]
            left = []
            for group in groups:
                between.append(scratch / f"between.{len(between)}")
                left.append(between[-1])
                rows = _merged(group, recipe.width)
                with between[-1].open("wb") as file:
                    rows = _unfinished(recipe, rows) if summed else rows
                    yield from _written(rows, header_of(group[0]), file.write)
        rows = _merged(left, recipe.width)
        rows = _finished(recipe, rows) if summed else rows
        yield from _written(rows, _header(recipe), output.write)
    finally:
        _remove(between)


def _header(recipe: MergePlan) -> bytes:
    return ",".join((*recipe.query.dimensions, *recipe.query.metrics)).lower().encode() + b"\n"


def _merged(paths: Sequence[Path], width: int) -> Iterator[Row]:
    return by_turns(*(in_order(path, width) for path in paths), key=by_key)


def _sums(recipe: MergePlan, rows: Iterable[Row]) -> Iterator[tuple[Row, list[Number]]]:
    """Yield the first row of each key, and the sums of the cells of all rows with that key."""
    width, columns = recipe.width, recipe.asked.metrics
    for _, group in groupby(rows, key=by_key):
        first: Row | None = None
        sums: list[Number] = []
        for row in group:
            cells = numbers.cells(row.cells[width:], columns)
            sums = cells if first is None else numbers.added(sums, cells)
            first = first or row
        if first is not None:
            yield first, sums


def _unfinished(recipe: MergePlan, rows: Iterable[Row]) -> Iterator[Row]:
    """Yield rows of plain sums, for a later merge to add to."""
    for (key, cells), sums in _sums(recipe, rows):
        yield Row(key, [*cells[: recipe.width], *map(numbers.text, sums)])


def _finished(recipe: MergePlan, rows: Iterable[Row]) -> Iterator[Row]:
    """Yield rows of the query's own cells, computed from the sums."""
    for (key, cells), sums in _sums(recipe, rows):
        yield Row(key, [*cells[: recipe.width], *[numbers.cell(made, sums) for made in recipe.cells]])


def _written(rows: Iterable[Row], header: bytes, write: Callable[[bytes], object]) -> Generator[None]:
    lines, size = [header], len(header)
    for count, row in enumerate(rows, start=1):
        lines.append(row.line())
        size += len(lines[-1])
        if size >= _CHUNK or count % SLICE == 0:
            write(b"".join(lines))
            lines, size = [], 0
            yield
    write(b"".join(lines))


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
