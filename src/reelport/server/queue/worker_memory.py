"""How much memory a worker may take, and how it gives free memory back when it rests.

A control group may limit all processes together. Unless workers fit into it, the kernel would kill a worker in the
middle of a report, instead of letting its engine spill to disk.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import structlog

from reelport.engine.memory_size import parse_size
from reelport.server.resources import find_memory_limit, release_memory
from reelport.server.settings import Settings
from reelport.wording import format_size

_LEAST = 256_000_000
"""Bytes below which an engine makes hardly any report; a smaller group is too small."""
_LOG = structlog.get_logger(__name__)
_REST_SECONDS = 5.0
"""Seconds without a report after which memory is weighed."""
_SPARE = 64_000_000
"""Bytes that may be free and kept: small reports use them again, and whoever gives them back has to clear them anew."""
_STATUS = Path("/proc/self/status")
_ANONYMOUS = "RssAnon:"


def fit_workers(settings: Settings, workers: int, others: int = 0) -> Settings:
    """Lower the memory of each of the workers to what the control group leaves them; log it.

    `others` are the bytes that the API in the same group may take. Without workers here nothing is to be said: those
    of other machines have groups of their own.
    """
    fitting = find_fitting_memory(settings, workers, find_memory_limit(), others) if workers else None
    if fitting is None:
        return settings
    _LOG.warning("workers get less memory", set=settings.worker_memory, given=format_size(fitting), workers=workers)
    return replace(settings, worker_memory=f"{fitting // 1000}KB")


def find_fitting_memory(settings: Settings, workers: int, limit: int | None, others: int = 0) -> int | None:
    """Find the bytes that each worker may take within the limit; None when what is set fits."""
    if limit is None:
        return None
    share = max((limit - others) // max(workers, 1), _LEAST)
    return share if share < parse_size(settings.worker_memory) else None


class RestMemory:
    """Weighs a worker's memory once after each rest. Used on the thread that keeps the leases."""

    def __init__(self) -> None:
        self._needed = read_own_memory()
        self._weighed = 0
        self._rests_since: float | None = None
        self._rested_after = 0

    def check(self, made: int, *, at_rest: bool, now: float) -> None:
        """Give much free memory back once the worker has rested for a while."""
        if not at_rest:
            self._rests_since = None
        elif self._rests_since is None or self._rested_after != made:
            self._rests_since, self._rested_after = now, made
        elif self._weighed < made and now - self._rests_since >= _REST_SECONDS:
            self._weighed = made
            if read_own_memory() > self._needed + _SPARE:
                release_memory()
                self._needed = read_own_memory()


def read_own_memory() -> int:
    """Read how many bytes this process holds for itself alone; 0 where the system doesn't tell."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(_ANONYMOUS)), 0)
