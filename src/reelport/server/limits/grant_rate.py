"""Limits how often one key is granted a token: a token bucket for each key, so that none keeps the others waiting."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass

_BURSTS_PER_MINUTE = 6
"""The part of a minute's grants that may come at once."""
_MAX_BUCKETS = 10_000
"""Buckets beside which full ones are forgotten."""


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class GrantRate:
    """The grants of every key in one process. To be used on its event loop only."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_minute / 60
        self._most = max(per_minute / _BURSTS_PER_MINUTE, 1)
        self._clock = clock
        self._buckets: dict[bytes, _Bucket] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, caller: bytes) -> float:
        """Count a grant and give 0, or the seconds after which there is one again."""
        now = self._clock()
        bucket = self._buckets.get(caller)
        if bucket is None:
            self._drop_full_buckets(now)
            bucket = self._buckets[caller] = _Bucket(self._most, now)
        bucket.left, bucket.at = min(self._most, bucket.left + (now - bucket.at) * self._rate), now
        if bucket.left < 1:
            return (1 - bucket.left) / self._rate
        bucket.left -= 1
        return 0.0

    def _drop_full_buckets(self, now: float) -> None:
        if len(self._buckets) >= _MAX_BUCKETS:
            full = self._most / self._rate
            self._buckets = {who: each for who, each in self._buckets.items() if now < each.at + full}


def hash_caller(key_id: str, secret: str) -> bytes:
    """Whose grants are counted: an id with its secret, so that who has only the id can't use them up."""
    return hashlib.sha256(f"{key_id}\0{secret}".encode("utf-8", "surrogatepass")).digest()
