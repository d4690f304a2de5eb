"""What a file comes to while it is written: its SHA-256 and its lines, reckoned beside the one who reads and writes."""

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
    """Takes the bytes of one file. What is less than a megabyte costs no thread; no more than two of them wait.

    Where `rows` are known already no line is counted, which would keep the one who reads from reading; nor are those
    counted again that the one who reads has counted.
    """

    def __init__(self, rows: int | None = None) -> None:
        self._sha256, self._lines, self._told = hashlib.sha256(), Lines(), rows
        self._waiting: list[tuple[bytes, int | None]] = []
        self._room = _BATCH
        self._reckoned: Future[None] | None = None

    def feed(self, data: bytes, ends: int | None = None) -> None:
        """The next bytes, which must not change any more; `ends` is how many lines end in them, where that is known."""
        self._waiting.append((data, ends))
        self._room -= len(data)
        if self._room <= 0:
            pieces = self._taken()
            self._reckoned = _threads().submit(self._reckon, pieces)

    @property
    def sha256(self) -> str:
        """The SHA-256 of all that came."""
        self._settle()
        return self._sha256.hexdigest()

    @property
    def lines(self) -> Lines:
        """The lines of all that came, as far as they are counted."""
        self._settle()
        return self._lines

    @property
    def rows(self) -> int:
        """The rows below the header."""
        return self.lines.rows if self._told is None else self._told

    def copy(self) -> Tally:
        """The same, which goes on by itself."""
        self._settle()
        twin = Tally(self._told)
        twin._sha256, twin._lines = self._sha256.copy(), self._lines.copy()
        return twin

    def _settle(self) -> None:
        self._reckon(self._taken())

    def _taken(self) -> Sequence[tuple[bytes, int | None]]:
        """What is still to be reckoned, once what was handed over before has been."""
        if self._reckoned is not None:
            self._reckoned.result()
        pieces, self._waiting, self._room, self._reckoned = self._waiting, [], _BATCH, None
        return pieces

    def _reckon(self, pieces: Sequence[tuple[bytes, int | None]]) -> None:
        # Few long pieces: the lock of the interpreter, which the reader wants too, is let go and taken again for each.
        whole = [data for data, _ in pieces]
        for data in whole if len(whole) <= _FEW else [b"".join(whole)]:
            self._sha256.update(data)
        if self._told is None:
            for data, ends in pieces:
                if ends is None:
                    self._lines.feed(data)
                elif data:
                    self._lines.add(ends, data[-1:])


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, "reelport-tally")
