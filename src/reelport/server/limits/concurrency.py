"""Whose requests are worked on: two of one caller at a time, so that many of them don't keep the others waiting."""

from __future__ import annotations

from collections.abc import Hashable
from weakref import WeakValueDictionary

import anyio

MAX_CONCURRENT = 2
"""Requests of one caller. Python computes for one of them at a moment; the second makes use of waits for the state."""


class Concurrency:
    """The turns of every caller of one process. To be used on its event loop only."""

    def __init__(self) -> None:
        # Whoever has a turn or waits for one keeps them alive.
        self._of: WeakValueDictionary[Hashable, anyio.CapacityLimiter] = WeakValueDictionary()

    def limiter_of(self, caller: Hashable) -> anyio.CapacityLimiter:
        """What a request of this caller holds while it is worked on; first come, first served."""
        turns = self._of.get(caller)
        if turns is None:
            turns = self._of[caller] = anyio.CapacityLimiter(MAX_CONCURRENT)
        return turns
