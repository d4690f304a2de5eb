"""Compute a file's SHA-256 and count its lines in other threads while it is written."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache

from reelport.client.files.shape import Lines

_BATCH = 1 << 20
_FEW = 8
_THREADS = 2


class Tally:
    """Hashes and counts a file's bytes. Under a megabyte needs no thread; two at most wait.

    Where `rows` are known already, lines aren't counted, as counting would hold up the reader; lines that the reader
    has counted aren't counted again.
    """

    def __init__(self, rows: int | None = None) -> None:
        self._sha256, self._lines, self._known_rows = hashlib.sha256(), Lines(), rows
        self._waiting: list[tuple[bytes, int | None]] = []
        self._room = _BATCH
        self._counted: Future[None] | None = None

    def feed(self, data: bytes, ends: int | None = None) -> None:
        """Add bytes, not to be changed any more; `ends` lines end in them, where known."""
        self._waiting.append((data, ends))
        self._room -= len(data)
        if self._room <= 0:
            pieces = self._take_waiting()
            self._counted = _get_threads().submit(self._count, pieces)

    @property
    def sha256(self) -> str:
        """The SHA-256 of all bytes."""
        self._finish()
        return self._sha256.hexdigest()

    @property
    def lines(self) -> Lines:
        """The lines of all bytes, as far as they are counted."""
        self._finish()
        return self._lines

    @property
    def rows(self) -> int:
        """The number of rows below the header."""
        return self.lines.rows if self._known_rows is None else self._known_rows

    def copy(self) -> Tally:
        """Return an independent copy."""
        self._finish()
        copy = Tally(self._known_rows)
        copy._sha256, copy._lines = self._sha256.copy(), self._lines.copy()
        return copy

    def _finish(self) -> None:
        self._count(self._take_waiting())

    def _take_waiting(self) -> Sequence[tuple[bytes, int | None]]:
        """Wait for the batch in the thread, then take the pieces that wait."""
        if self._counted is not None:
            self._counted.result()
        pieces, self._waiting, self._room, self._counted = self._waiting, [], _BATCH, None
        return pieces

    def _count(self, pieces: Sequence[tuple[bytes, int | None]]) -> None:
        # Hash few long pieces: each one releases and retakes the GIL, which the reader wants too.
        whole = [data for data, _ in pieces]
        for data in whole if len(whole) <= _FEW else [b"".join(whole)]:
            self._sha256.update(data)
        if self._known_rows is None:
            for data, ends in pieces:
                if ends is None:
                    self._lines.feed(data)
                elif data:
                    self._lines.add(ends, data[-1:])


@cache
def _get_threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, "reelport-tally")
