"""Token buckets: an owner may do something so often a minute, and a burst of it at once."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass

_MAX_BUCKETS = 10_000
"""Buckets at which full ones are dropped."""


@dataclass(slots=True)
class _Bucket:
    left: float
    filled_at: float


class TokenBuckets:
    """The buckets of one kind of one process. Use on its event loop only."""

    def __init__(self, per_minute: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_minute / 60
        self._capacity = max(burst, 1)
        self._clock = clock
        self._buckets: dict[bytes, _Bucket] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, owner: bytes) -> float:
        """Take one from a bucket and return 0, or return the seconds until there is one."""
        now = self._clock()
        bucket = self._buckets.get(owner)
        if bucket is None:
            self._drop_full_buckets(now)
            bucket = self._buckets[owner] = _Bucket(self._capacity, now)
        bucket.left, bucket.filled_at = min(self._capacity, bucket.left + (now - bucket.filled_at) * self._rate), now
        if bucket.left < 1:
            return (1 - bucket.left) / self._rate
        bucket.left -= 1
        return 0.0

    def put_back(self, owner: bytes) -> None:
        """Put one back that was taken."""
        if bucket := self._buckets.get(owner):
            bucket.left = min(self._capacity, bucket.left + 1)

    def _drop_full_buckets(self, now: float) -> None:
        if len(self._buckets) >= _MAX_BUCKETS:
            full = self._capacity / self._rate
            self._buckets = {who: each for who, each in self._buckets.items() if now < each.filled_at + full}


def hash_owner(*texts: str) -> bytes:
    """Hash what identifies an owner, such as a key's id and secret.

    Whoever knows only the id of a key can't use up its bucket, then.
    """
    return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).digest()
