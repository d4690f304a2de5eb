"""Count lines that can't be parsed as rows by reason, and keep the first of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

_NUMBER = re.compile(r"\d[\d,]*")
_DETAIL = re.compile(r"(it is no JSON): .*")
_KINDS = 1_000
_OTHER = "another reason"


@dataclass(frozen=True, slots=True)
class BrokenLine:
    """A line that can't be parsed as a row: its file, its number from 1, and the reason."""

    file: str
    line: int
    reason: str


class BrokenLines:
    """Counts broken lines by reason, keeps the first `most`. Thread-safe, for DuckDB's threads."""

    def __init__(self, names: Sequence[str], most: int) -> None:
        self.first: list[BrokenLine] = []
        self.count = 0
        self.kinds: dict[str, tuple[int, BrokenLine]] = {}
        self._names = names
        self._most = most
        self._lock = Lock()

    def reset(self) -> None:
        """Start counting again, because the files are read again."""
        with self._lock:
            self.first, self.count, self.kinds = [], 0, {}

    def add(self, file: int, line: int, reason: str, _raw: str) -> None:
        """Add a broken line of the file with this number, from 0."""
        broken = BrokenLine(self._names[file], line, reason)
        kind = _NUMBER.sub("N", _DETAIL.sub(r"\1", reason))
        with self._lock:
            self.count += 1
            if len(self.first) < self._most:
                self.first.append(broken)
            kind = kind if kind in self.kinds or len(self.kinds) < _KINDS else _OTHER
            count, first = self.kinds.get(kind, (0, broken))
            self.kinds[kind] = count + 1, first
