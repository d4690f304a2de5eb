"""How much memory a worker may take where a control group limits all processes together.

Without this the kernel would kill a worker in the middle of a report, instead of letting its engine spill to disk.
"""

from __future__ import annotations

from dataclasses import replace

import structlog

from reelport.engine.memory_size import parse_size
from reelport.server.control_group import find_memory_limit
from reelport.server.settings import Settings
from reelport.wording import format_size

_LEAST = 256_000_000
"""Bytes below which an engine makes hardly any report; a smaller group is too small."""
_LOG = structlog.get_logger(__name__)


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
