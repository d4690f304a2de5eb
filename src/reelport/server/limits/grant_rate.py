"""Rate limit for access tokens: a token bucket for each key.

It keeps one key from slowing down the others.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass

_BURSTS_PER_MINUTE = 6
"""A burst may use a sixth of a minute's grants."""
_MAX_BUCKETS = 10_000
"""Buckets at which full ones are dropped."""


@dataclass(slots=True)
class _Bucket:
    left: float
    filled_at: float


class GrantRate:
    """The token buckets of all keys of one process. Use on its event loop only."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_minute / 60
        self._capacity = max(per_minute / _BURSTS_PER_MINUTE, 1)
        self._clock = clock
        self._buckets: dict[bytes, _Bucket] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, caller: bytes) -> float:
        """Take one grant and return 0, or return the seconds until the next one is available."""
        now = self._clock()
        bucket = self._buckets.get(caller)
        if bucket is None:
            self._drop_full_buckets(now)
            bucket = self._buckets[caller] = _Bucket(self._capacity, now)
        bucket.left, bucket.filled_at = min(self._capacity, bucket.left + (now - bucket.filled_at) * self._rate), now
        if bucket.left < 1:
            return (1 - bucket.left) / self._rate
        bucket.left -= 1
        return 0.0

    def _drop_full_buckets(self, now: float) -> None:
        if len(self._buckets) >= _MAX_BUCKETS:
            full = self._capacity / self._rate
            self._buckets = {who: each for who, each in self._buckets.items() if now < each.filled_at + full}


def hash_caller(key_id: str, secret: str) -> bytes:
    """Hash a key's id and secret: who knows only the id can't use up the key's grants."""
    return hashlib.sha256(f"{key_id}\0{secret}".encode("utf-8", "surrogatepass")).digest()
