"""Sits out times in which PostgreSQL can't be reached, such as a restart or a failover."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from reelport.server.state.database import StateUnavailable

T = TypeVar("T")

_PAUSE_SECONDS = 0.5


def sit_out(work: Callable[[], T], stopping: threading.Event) -> T:
    """Return the result of `work`, which is done again while the state is unavailable.

    Raises StateUnavailable once `stopping` is set. An outage may hide that a commit went through: what is done twice
    must be as if it was done once.
    """
    while True:
        try:
            return work()
        except StateUnavailable:
            if stopping.wait(_PAUSE_SECONDS):
                raise
