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


def fit_workers(settings: Settings, workers: int, *, api: bool) -> Settings:
    """Lower the memory of each of the workers to what the control group leaves them; log it.

    `api` says that the API runs in the same group.
    """
    fitting = find_fitting_memory(settings, workers, find_memory_limit(), api=api)
    if fitting is None:
        return settings
    _LOG.warning("workers get less memory", set=settings.worker_memory, given=format_size(fitting), workers=workers)
    return replace(settings, worker_memory=f"{fitting // 1000}KB")


def find_fitting_memory(settings: Settings, workers: int, limit: int | None, *, api: bool) -> int | None:
    """Find the bytes that each worker may take within the limit; None when what is set fits."""
    if limit is None:
        return None
    left = limit - (count_api_bytes(settings) if api else 0)
    share = max(left // max(workers, 1), _LEAST)
    return share if share < parse_size(settings.worker_memory) else None


def count_api_bytes(settings: Settings) -> int:
    """Count the bytes that API processes may take: explorer, bodies and unsent answers."""
    each = parse_size(settings.explore_memory) + settings.unsent_bytes + settings.pending_bytes
    return settings.processes * each
