"""Limits each caller to a few requests at a time, so that none can starve the others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

import anyio

from reelport.server.limits.quotas import Quota

MAX_CONCURRENT = 2
"""Requests of one caller at a time. Python runs one of them at once; the second uses the waits for the database."""


class Concurrency:
    """One limiter for each caller of this process. Use on its event loop only."""

    def __init__(self, most: int = MAX_CONCURRENT) -> None:
        self._most = most
        # Requests that hold a limiter or wait for it keep it alive.
        self._limiters: WeakValueDictionary[Hashable, anyio.CapacityLimiter] = WeakValueDictionary()

    @asynccontextmanager
    async def turn(self, caller: Hashable) -> AsyncIterator[bool]:
        """Hold the caller's limiter, a free one at once; yields whether it had to wait."""
        limiter, borrower = self.limiter_of(caller), object()
        try:
            limiter.acquire_on_behalf_of_nowait(borrower)
            waited = False
        except anyio.WouldBlock:
            await limiter.acquire_on_behalf_of(borrower)
            waited = True
        try:
            yield waited
        finally:
            limiter.release_on_behalf_of(borrower)

    def measure(self, policy: str, caller: Hashable) -> Quota:
        """Measure how many more of a caller's requests would run at once."""
        limiter = self._limiters.get(caller)
        return Quota(policy, self._most, self._most if limiter is None else int(limiter.available_tokens))

    def limiter_of(self, caller: Hashable) -> anyio.CapacityLimiter:
        """Return the limiter that a caller's requests hold while they run; first come first."""
        limiter = self._limiters.get(caller)
        if limiter is None:
            limiter = self._limiters[caller] = anyio.CapacityLimiter(self._most)
        return limiter
