"""Merge windows' files by a plan, in memory that grows with neither rows nor windows.

Cells stay as the service wrote them, but for sums. Sums are exact, and rates are rounded from them: no number is a
float.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from decimal import Context, Decimal, Inexact
from heapq import merge as heap_merge
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple, Protocol

from reelport.additivity import Added, Cell, Rate
from reelport.catalog import round_ratio
from reelport.client.files.csv_checks import join_lines, split_cells, unquote
from reelport.client.ranges.plan import MergePlan, MergeRule
from reelport.errors import IncompleteDownload, MergeRefused

_HEADER_BYTES = 1 << 16
_LAST = b"\xff\xff"  # replaces an empty cell in a key: sorts after all UTF-8 text, which never begins with these bytes
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
        columns = len(split_cells(file.readline(_HEADER_BYTES)))
        for line in join_lines(file):
            cells = split_cells(line)
            if len(cells) != columns:
                raise IncompleteDownload(f"A row of {path.name} has {len(cells)} cells where its header has {columns}.")
            key = tuple([(unquote(cell) if cell.startswith(b'"') else cell) or _LAST for cell in cells[:width]])
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


_CHUNK = 1 << 20
_SLICE_ROWS = 20_000  # rows after which long work yields, so that it can be interrupted
_MOST_OPEN = 64  # most files to read at the same time
_SORT_MEMORY = 128 << 20  # most bytes of rows that a sort holds in memory; more go to temporary files

Number = int | Decimal | None  # None is an empty cell: it adds nothing, and a sum of empty cells is empty
_NUMBER = re.compile(rb"[+-]?(?:\d{1,400}(?:\.\d{0,400})?|\.\d{1,400})(?:[eE][+-]?\d{1,2})?")
_EXACT = Context(prec=2000, traps=[Inexact])


class Output(Protocol):
    """The destination of the merged file."""

    def write(self, data: bytes) -> None:
        """Append bytes."""

    def rewind(self) -> None:
        """Drop everything written so far."""


def merge(
    plan: MergePlan, paths: Sequence[Path], output: Output, scratch: Path, *, held: int = _SORT_MEMORY
) -> Generator[None]:
    """Merge files, the oldest window first, into the output; yields between slices.

    Writes rows in the order of their cells (UTF-8 bytes, empty last), as a Reelport service does. Temporary files go to
    the folder `scratch`, and at most `held` bytes of rows into memory where files must be sorted. Raises MergeRefused
    for a cell that can't be added up.
    """
    if plan.rule in {MergeRule.ALONE, MergeRule.APPENDED}:
        yield from _append(paths, output)
        return
    try:
        yield from _merge_sorted(plan, paths, output, scratch)
    except Unsorted:
        output.rewind()
        runs: list[Path] = []
        try:
            for path in paths:
                for rows in sort_runs(path, plan.width, held):
                    runs.append(scratch / f"sorted.{len(runs)}")
                    with runs[-1].open("wb") as file:
                        yield from _write_rows(rows, read_header(path), file.write)
            yield from _merge_sorted(plan, runs, output, scratch)
        finally:
            _remove(runs)


def _append(paths: Sequence[Path], output: Output) -> Generator[None]:
    header = read_header(paths[0])
    output.write(header)
    for path in paths:
        if read_header(path) != header:
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


def _merge_sorted(plan: MergePlan, paths: Sequence[Path], output: Output, scratch: Path) -> Generator[None]:
    """Merge sorted files; too many to open are merged in groups into larger files first."""
    between: list[Path] = []
    left = list(paths)
    summed = plan.rule is MergeRule.SUMMED
    try:
        while len(left) > _MOST_OPEN:
            # Group neighbours, so that among rows with equal keys the oldest window's stays first.
            groups = [left[start : start + _MOST_OPEN] for start in range(0, len(left), _MOST_OPEN)]
            left = []
            for group in groups:
                between.append(scratch / f"between.{len(between)}")
                left.append(between[-1])
                rows = _merge_rows(group, plan.width)
                with between[-1].open("wb") as file:
                    rows = _add_up(plan, rows, whole=False) if summed else rows
                    yield from _write_rows(rows, read_header(group[0]), file.write)
        rows = _merge_rows(left, plan.width)
        rows = _add_up(plan, rows, whole=True) if summed else rows
        header = ",".join((*plan.query.dimensions, *plan.query.metrics)).lower().encode() + b"\n"
        yield from _write_rows(rows, header, output.write)
    finally:
        _remove(between)


def _merge_rows(paths: Sequence[Path], width: int) -> Iterator[Row]:
    return heap_merge(*(read_sorted_rows(path, width) for path in paths), key=by_key)


def _sum_rows(plan: MergePlan, rows: Iterable[Row]) -> Iterator[tuple[Row, list[Number]]]:
    width, columns = plan.width, plan.asked.metrics
    for _, group in groupby(rows, key=by_key):
        first: Row | None = None
        sums: list[Number] = []
        for row in group:
            cells = _parse_cells(row.cells[width:], columns)
            sums = cells if first is None else _add_rows(sums, cells)
            first = first or row
        if first is not None:
            yield first, sums


def _add_up(plan: MergePlan, rows: Iterable[Row], *, whole: bool) -> Iterator[Row]:
    """Yield a row for each key: of the query's cells, or of plain sums unless `whole`."""
    for (key, cells), sums in _sum_rows(plan, rows):
        found = [compute_cell(made, sums) for made in plan.cells] if whole else map(_format_number, sums)
        yield Row(key, [*cells[: plan.width], *found])


def _write_rows(rows: Iterable[Row], header: bytes, write: Callable[[bytes], object]) -> Generator[None]:
    lines, size = [header], len(header)
    for count, row in enumerate(rows, start=1):
        lines.append(row.line())
        size += len(lines[-1])
        if size >= _CHUNK or count % _SLICE_ROWS == 0:
            write(b"".join(lines))
            lines, size = [], 0
            yield
    write(b"".join(lines))


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _parse_number(cell: bytes, column: str) -> Number:
    """Parse a cell as a number; None for an empty cell. Raises MergeRefused for any other text."""
    if cell.isdigit():  # of bytes: the ten of ASCII only
        return int(cell)
    if not cell or cell == b'""':
        return None
    if not _NUMBER.fullmatch(cell):
        raise MergeRefused(
            f"A cell of {column} holds {cell[:80].decode(errors='replace')!r}, which can't be added up. "
            "Keep each window as a file (keep_windows, --keep-windows)."
        )
    text = cell.decode()
    return Decimal(text) if any(mark in text for mark in ".eE") else int(text)


def _parse_cells(row: Sequence[bytes], columns: Sequence[str]) -> list[Number]:
    if b"".join(row).isdigit() and all(row):  # Most rows hold only counts: this is several times as fast.
        return [int(cell) for cell in row]
    return [_parse_number(cell, column) for cell, column in zip(row, columns, strict=True)]


def _add_rows(one: Sequence[Number], other: Sequence[Number]) -> list[Number]:
    return [
        left + right if type(left) is int and type(right) is int else _add(left, right)
        for left, right in zip(one, other, strict=True)
    ]


def _add(one: Number, other: Number) -> Number:
    if one is None or other is None:
        return other if one is None else one
    if isinstance(one, int) and isinstance(other, int):
        return one + other
    return _EXACT.add(Decimal(one), Decimal(other))


def _format_number(value: Number, digits: int = 0) -> bytes:
    if value is None:
        return b""
    if isinstance(value, int) and not digits:
        return b"%d" % value
    shown = f"{Decimal(value):f}"
    short = digits - len(shown.partition(".")[2])
    if short > 0:
        shown += ("" if "." in shown else ".") + "0" * short
    return shown.encode()


def compute_cell(made: Cell, sums: Sequence[Number]) -> bytes:
    """Compute and format a cell from the sums of a row's columns."""
    match made:
        case Added(column, digits):
            return _format_number(sums[column], digits)
        case Rate(numerator, denominator):
            below: Number = None
            for column in denominator:
                below = _add(below, sums[column])
            return _compute_rate(made, sums[numerator], below)


def _compute_rate(rate: Rate, above: Number, below: Number) -> bytes:
    whole = None if above is None else round_ratio(above, below or 0, rate.scale, rate.digits)
    if whole is None:
        return b""
    if not rate.digits:
        return b"%d" % whole
    front, back = divmod(abs(whole), 10**rate.digits)
    return f"{'-' if whole < 0 else ''}{front}.{back:0{rate.digits}d}".encode()
