"""Limits how often something is done: token buckets, and guesses at passwords by address.

An owner may do something so often a minute, and a burst of it at once. Guesses are slowed down by address, so that
nobody can lock out a user from elsewhere.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from reelport.server.addresses import find_site
from reelport.server.limits.quotas import Quota, Unit

_MAX_BUCKETS = 10_000
"""Buckets at which full ones are dropped."""


@dataclass(slots=True)
class _Bucket:
    left: float
    filled_at: float


class TokenBuckets:
    """One process's buckets of one kind. Use on its event loop only."""

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
            if len(self._buckets) >= _MAX_BUCKETS:
                full = self._capacity / self._rate
                self._buckets = {who: each for who, each in self._buckets.items() if now < each.filled_at + full}
            bucket = self._buckets[owner] = _Bucket(self._capacity, now)
        bucket.left, bucket.filled_at = min(self._capacity, bucket.left + (now - bucket.filled_at) * self._rate), now
        if bucket.left < 1:
            return (1 - bucket.left) / self._rate
        bucket.left -= 1
        return 0.0

    def measure(self, policy: str, owner: bytes | None = None) -> Quota:
        """Measure what is left in an owner's bucket; of an unknown owner only the quota is told."""
        bucket = None if owner is None else self._buckets.get(owner)
        window = math.ceil(self._capacity / self._rate)
        if bucket is None:
            return Quota(policy, int(self._capacity), None, Unit.REQUESTS, window)
        left = min(self._capacity, bucket.left + (self._clock() - bucket.filled_at) * self._rate)
        next_one = math.ceil((int(left) + 1 - left) / self._rate)
        return Quota(policy, int(self._capacity), int(left), Unit.REQUESTS, window, next_one)

    def put_back(self, owner: bytes) -> None:
        """Put one back that was taken."""
        if bucket := self._buckets.get(owner):
            bucket.left = min(self._capacity, bucket.left + 1)


def hash_owner(*texts: str) -> bytes:
    """Hash what identifies an owner: a key's secret too, else others could use up its bucket."""
    return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).digest()


_USER_MINUTE, _USER_BURST = 6, 10
"""Wrong passwords of an address for one user: in a minute, after so many at once."""
_ADDRESS_MINUTE, _ADDRESS_BURST = 60, 100
"""The same for all users: an office behind one address mistypes a few in a minute."""
_CODE_MINUTE, _CODE_BURST = 10 / 60, 10
"""Wrong codes of a second factor for one user, from all addresses. Of a million codes three are right at a time: at six
a minute one would be guessed within weeks, at ten an hour within years."""


class LoginAttempts:
    """One process's limits of wrong passwords, by address, and of codes, by user.

    An attempt counts from its begin, and no longer once the password was right: attempts at the same moment can't
    pass the limit together. Use on the process's event loop only.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._of_user = TokenBuckets(_USER_MINUTE, _USER_BURST, clock)
        self._of_address = TokenBuckets(_ADDRESS_MINUTE, _ADDRESS_BURST, clock)
        self._codes = TokenBuckets(_CODE_MINUTE, _CODE_BURST, clock)

    def begin(self, address: str, email: str) -> float:
        """Begin an attempt and return 0, or the seconds until one may; `email` as it is stored."""
        site, user = _hash_owners(address, email)
        if pause := self._of_address.take(site):
            return pause
        if pause := self._of_user.take(user):
            self._of_address.put_back(site)
            return pause
        return 0.0

    def forgive(self, address: str, email: str) -> None:
        """Don't count an attempt: its password was right, or was not looked at."""
        site, user = _hash_owners(address, email)
        self._of_address.put_back(site)
        self._of_user.put_back(user)

    def begin_code(self, user_id: str) -> float:
        """Begin an attempt at a user's second factor and return 0, or the seconds until one may."""
        return self._codes.take(hash_owner(user_id))

    def forgive_code(self, user_id: str) -> None:
        """Don't count an attempt at a second factor: the code was right."""
        self._codes.put_back(hash_owner(user_id))


def _hash_owners(address: str, email: str) -> tuple[bytes, bytes]:
    site = find_site(address)
    return hash_owner(site), hash_owner(site, email)
