"""Limits how often something is done, as how often a key is granted a token: token buckets.

An owner may do something so often a minute, and a burst of it at once. Token buckets are one process's.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from reelport.server.limits.quotas import Quota, Unit

KEY_GRANTS = 600
"""Tokens that one key may be granted in a minute: a program needs one in ten hours."""
KEY_BURST = KEY_GRANTS // 6
"""A burst may use a sixth of a minute's grants."""
SITE_GRANTS, SITE_BURST = KEY_GRANTS // 10, KEY_BURST // 2
"""Of a public key's grants, and of its burst, one site of addresses may use so much."""
_MAX_BUCKETS = 10_000
"""Buckets at which full ones are dropped."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How many attempts come back in a minute, and how many there are at once."""

    per_minute: float
    burst: int

    @property
    def step(self) -> int:
        """The time in which one comes back, in milliseconds."""
        return round(60_000 / self.per_minute)

    @property
    def room(self) -> int:
        """The time in which all come back, in milliseconds."""
        return self.burst * self.step


class TokenBuckets:
    """One process's buckets of one kind. Use on its event loop only."""

    def __init__(self, per_minute: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = RateLimit(per_minute, max(int(burst), 1))
        self._clock = clock
        self._full_at: dict[bytes, int] = {}
        """When each owner's bucket is full again, in milliseconds."""

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, owner: bytes) -> float:
        """Take one from a bucket and return 0, or return the seconds until there is one."""
        now = self._now()
        if len(self._full_at) >= _MAX_BUCKETS and owner not in self._full_at:
            self._full_at = {who: full_at for who, full_at in self._full_at.items() if full_at > now}
        full_at = max(self._full_at.get(owner, now), now) + self._limit.step
        if (wait := full_at - now - self._limit.room) > 0:
            return wait / 1000
        self._full_at[owner] = full_at
        return 0.0

    def measure(self, policy: str, owner: bytes | None = None) -> Quota:
        """Measure what is left in an owner's bucket; of an unknown owner only the quota is told."""
        window, full_at = math.ceil(self._limit.room / 1000), None if owner is None else self._full_at.get(owner)
        if full_at is None:
            return Quota(policy, self._limit.burst, None, Unit.REQUESTS, window)
        missing = max(full_at - self._now(), 0)
        left = (self._limit.room - missing) // self._limit.step
        next_one = math.ceil(((left + 1) * self._limit.step - self._limit.room + missing) / 1000)
        return Quota(policy, self._limit.burst, left, Unit.REQUESTS, window, next_one)

    def _now(self) -> int:
        return int(self._clock() * 1000)


def hash_owner(*texts: str) -> bytes:
    """Hash what identifies an owner: a key's secret too, else others could use up its bucket."""
    return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).digest()
