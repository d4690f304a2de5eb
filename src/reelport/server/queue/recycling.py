"""Decides when a worker gives memory back, and when another one replaces it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import structlog

from reelport.engine.duckdb.allocator import release_pages
from reelport.engine.memory_size import parse_size
from reelport.server.memory import release_memory
from reelport.server.queue.worker_slot import READY, REPLACE
from reelport.server.settings import Settings
from reelport.server.state.tallies import Recycled
from reelport.wording import format_size

_REST_SECONDS = 5.0
"""Seconds without a report after which memory is weighed."""
_SPARE = 64_000_000
"""Bytes that may be free and kept: small reports use them again, and whoever gives them back has to clear them anew."""
_STATUS = Path("/proc/self/status")
_ANONYMOUS = "RssAnon:"
_log = structlog.get_logger(__name__)


class Recycling:
    """What one worker has made so far, and whether it has asked its supervisor to be replaced.

    `pipe` leads to the supervisor; None: nobody could start another one. Used on the thread that keeps the leases.
    """

    def __init__(self, settings: Settings, pipe: int | None) -> None:
        self._reports_limit = settings.worker_reports
        self._memory_limit = parse_size(settings.worker_rest_memory)
        self._pipe = pipe
        self._made = 0
        self._weighed = 0
        self._rests_since: float | None = None
        self._rested_after = 0
        self._needed = 0
        self.reason: Recycled | None = None
        """Why it has asked; None while it hasn't."""

    def tell_ready(self) -> None:
        """Tell the supervisor that this worker is warm, and note what memory that needs."""
        self._needed = read_own_memory()
        self._tell(READY)

    def count_report(self) -> None:
        """Count an attempt that has ended."""
        self._made += 1

    def check(self, *, at_rest: bool, now: float) -> None:
        """Give much free memory back, and ask to be replaced, once, when either is due.

        Memory is weighed once after a report, when the worker has rested for a while.
        """
        self._note_rest(now if at_rest else None)
        memory = 0
        if self._weighed < self._made and self._has_rested(now):
            self._weighed = self._made
            memory = self._release_surplus()
        if self._pipe is None or self.reason is not None:
            return
        if self._reports_limit and self._made >= self._reports_limit:
            self.reason = Recycled.REPORTS
        elif memory > self._memory_limit > 0:
            self.reason = Recycled.MEMORY
        if self.reason is not None:
            kept = {"memory": format_size(memory)} if memory else {}
            _log.info("worker asks to be replaced", reason=self.reason.value, reports=self._made, **kept)
            self._tell(REPLACE)

    def _release_surplus(self) -> int:
        """Give free memory back where it may be much, or too much; return the bytes that are held."""
        memory = read_own_memory()
        if memory > self._needed + _SPARE or memory > self._memory_limit > 0:
            release_pages()
            release_memory()
            self._needed = memory = read_own_memory()
        return memory

    def _note_rest(self, now: float | None) -> None:
        """Note that the worker rests at this second; None: it doesn't."""
        if now is None or self._rests_since is None or self._rested_after != self._made:
            self._rests_since, self._rested_after = now, self._made

    def _has_rested(self, now: float) -> bool:
        return self._rests_since is not None and now - self._rests_since >= _REST_SECONDS

    def _tell(self, what: bytes) -> None:
        if self._pipe is not None:
            with suppress(OSError):  # the supervisor has ended: so does this process
                os.write(self._pipe, what)


def read_own_memory() -> int:
    """Read how many bytes this process holds for itself alone; 0 where the system doesn't tell."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(_ANONYMOUS)), 0)
