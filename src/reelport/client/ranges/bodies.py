"""Measure CSV files without parsing them: their size, and how they use quotes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Bodies:
    """Measurements of several files together, below their headers.

    `bytes` counts a line end for each row, also for the last one of a file. `quotes` says whether there are any quotes,
    `pairs` is the number of `""`, and `bare_marks` says whether a `#` stands outside of quotes.
    """

    bytes: int
    quotes: bool
    pairs: int
    bare_marks: bool


def measure_bodies(paths: Sequence[Path], check: Callable[[], None], *, headers: bool = True) -> Bodies:
    """Measure the bodies of files below their headers; without `headers`, the whole files.

    Calls `check` after each megabyte; `check` may raise to end the work.
    """
    scans = [_Scan() for _ in paths]
    for path, scan in zip(paths, scans, strict=True):
        with path.open("rb") as file:
            if headers:
                file.readline()
            while data := file.read(_AT_ONCE):
                check()
                scan.feed(data)
        scan.end()
    return Bodies(
        sum(scan.bytes for scan in scans),
        any(scan.quotes for scan in scans),
        sum(scan.pairs for scan in scans),
        any(scan.bare_marks for scan in scans),
    )


class _Scan:
    """Measures one body."""

    def __init__(self) -> None:
        self.bytes = self.pairs = 0
        self.quotes = self.bare_marks = False
        self._inside = False
        self._last = b"\n"
        self._held = b""

    def feed(self, data: bytes) -> None:
        self.bytes += len(data)
        self._last = data[-1:]
        if self._held or b'"' in data:
            self._count_quotes(data)
        elif not self._inside:
            self.bare_marks = self.bare_marks or b"#" in data

    def end(self) -> None:
        self.pairs += self._held.count(b'""')
        self.bytes += self._last != b"\n"

    def _count_quotes(self, data: bytes) -> None:
        self.quotes = True
        if not self.bare_marks and b"#" in data:
            outside = data.split(b'"')[self._inside :: 2]
            self.bare_marks = b"#" in b"".join(outside)
        self._inside ^= data.count(b'"') % 2 == 1
        data = self._held + data
        # A run of quotes may continue in the next piece.
        ended = data.rstrip(b'"')
        self._held = data[len(ended) :]
        self.pairs += ended.count(b'""')
