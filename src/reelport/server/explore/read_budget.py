"""The rows that the parts of one view may read together."""

from __future__ import annotations

import threading

from reelport.server.explore.numbers import OverBudget


class ReadBudget:
    """The read budget of one view: its parts may read `most` rows together.

    Any thread may use it: parts run side by side.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._read = 0
        self._lock = threading.Lock()

    @property
    def left(self) -> int:
        """The rows that may still be read."""
        with self._lock:
            return self._most - self._read

    def spend(self, rows: int, instead_of: int = 0) -> OverBudget | None:
        """Count the rows of a part, instead of those that were counted for it before.

        What doesn't fit is not counted: then say so.
        """
        with self._lock:
            read = self._read - instead_of + rows
            if read <= self._most:
                self._read = read
                return None
        return OverBudget(f"It would read up to {read:,} rows; a page reads {self._most:,} at most.")
