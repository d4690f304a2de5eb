"""Gives a worker's free memory back when it rests."""

from __future__ import annotations

from pathlib import Path

from reelport.engine.duckdb.allocator import release_pages
from reelport.server.memory import release_memory

_REST_SECONDS = 5.0
"""Seconds without a report after which memory is weighed."""
_SPARE = 64_000_000
"""Bytes that may be free and kept: small reports use them again, and whoever gives them back has to clear them anew."""
_STATUS = Path("/proc/self/status")
_ANONYMOUS = "RssAnon:"


class RestMemory:
    """Weighs a worker's memory once after each rest. Used on the thread that keeps the leases."""

    def __init__(self) -> None:
        self._needed = read_own_memory()
        self._weighed = 0
        self._rests_since: float | None = None
        self._rested_after = 0

    def check(self, made: int, *, at_rest: bool, now: float) -> None:
        """Give much free memory back once the worker, which has made so many reports, has rested for a while."""
        if not at_rest:
            self._rests_since = None
        elif self._rests_since is None or self._rested_after != made:
            self._rests_since, self._rested_after = now, made
        elif self._weighed < made and now - self._rests_since >= _REST_SECONDS:
            self._weighed = made
            if read_own_memory() > self._needed + _SPARE:
                release_pages()
                release_memory()
                self._needed = read_own_memory()


def read_own_memory() -> int:
    """Read how many bytes this process holds for itself alone; 0 where the system doesn't tell."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(_ANONYMOUS)), 0)
