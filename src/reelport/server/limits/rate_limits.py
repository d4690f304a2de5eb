"""Limits how often something is done: token buckets, and guesses at passwords by address.

An owner may do something so often a minute, and a burst of it at once. Guesses are slowed down by address, so that
nobody can lock out a user from elsewhere. Token buckets are one process's. Guesses are counted in the state: more
processes allow no more of them.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine

from reelport.server.addresses import find_site
from reelport.server.limits.quotas import Quota, Unit
from reelport.server.state.database import writing
from reelport.server.state.statements import Statements
from reelport.server.state.tables import to_milliseconds

_SQL = Statements("limits/attempts")
_MAX_BUCKETS = 10_000
"""Buckets at which full ones are dropped."""


@dataclass(frozen=True, slots=True)
class _Limit:
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
        self._limit = _Limit(per_minute, max(int(burst), 1))
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


_OF_USER = _Limit(6, 10)
"""Wrong passwords of an address for one user."""
_OF_ADDRESS = _Limit(60, 100)
"""The same for all users: an office behind one address mistypes a few in a minute."""
_OF_CODES = _Limit(10 / 60, 10)
"""Wrong codes of a second factor for one user, from all addresses. Of a million codes three are right at a time: at six
a minute one would be guessed within weeks, at ten an hour within years."""


class LoginAttempts:
    """Limits of wrong passwords, by address, and of codes, by user, over all processes.

    An attempt counts from its begin, and no longer once the password was right: attempts at the same moment can't
    pass the limit together. Each method writes to the state: call it in a thread.
    """

    def __init__(self, db: Engine, clock: Callable[[], float] = time.time) -> None:
        self._db, self._clock = db, clock

    def begin(self, address: str, email: str) -> float:
        """Begin an attempt and return 0, or the seconds until one may; `email` as it is stored."""
        return self._begin(_find_owners(address, email))

    def forgive(self, address: str, email: str) -> None:
        """Don't count an attempt: its password was right, or was not looked at."""
        self._forgive(_find_owners(address, email))

    def begin_code(self, user_id: str) -> float:
        """Begin an attempt at a user's second factor and return 0, or the seconds until one may."""
        return self._begin({hash_owner(user_id): _OF_CODES})

    def forgive_code(self, user_id: str) -> None:
        """Don't count an attempt at a second factor: the code was right."""
        self._forgive({hash_owner(user_id): _OF_CODES})

    def delete_unused(self) -> None:
        """Delete the rows of those whose attempts have all come back."""
        with writing(self._db, synced=False) as connection:
            _SQL.run(connection, "delete_unused", {"now": self._now()})

    def _begin(self, owners: Mapping[bytes, _Limit]) -> float:
        now, values = self._now(), _name_values(owners)
        with writing(self._db, synced=False) as connection:
            if len(_SQL.run(connection, "begin", {**values, "now": now}).all()) == len(owners):
                return 0.0
            full_at: dict[str, int] = {row.owner: row.full_at for row in _SQL.run(connection, "read", values)}
        waits = (full_at.get(who.hex(), 0) + each.step - each.room - now for who, each in owners.items())
        return max(1, *waits) / 1000

    def _forgive(self, owners: Mapping[bytes, _Limit]) -> None:
        # In the order of `begin`: two that lock both owners then don't deadlock.
        steps = [{"owner": who.hex(), "step": owners[who].step} for who in sorted(owners)]
        with writing(self._db, synced=False) as connection:
            _SQL.run(connection, "forgive", steps)

    def _now(self) -> int:
        return int(self._clock() * 1000)


def _find_owners(address: str, email: str) -> dict[bytes, _Limit]:
    site = find_site(address)
    return {hash_owner(site): _OF_ADDRESS, hash_owner(site, email): _OF_USER}


def _name_values(owners: Mapping[bytes, _Limit]) -> dict[str, object]:
    """Name the values of the statements: one owner stands for both."""
    pairs = [*owners.items()]
    (first, of_first), (second, of_second) = pairs[0], pairs[-1]
    of_both = {"first_step": of_first.step, "first_room": of_first.room}
    of_both |= {"second_step": of_second.step, "second_room": of_second.room}
    return {"first": first.hex(), "second": second.hex(), **of_both}


def use_once(connection: Connection, text: str, life: timedelta, now: datetime) -> bool:
    """Use up a text; False if it was used within this time already."""
    once = _Limit(60 / life.total_seconds(), 1)
    values = {**_name_values({hash_owner("once", text): once}), "now": to_milliseconds(now)}
    return _SQL.run(connection, "begin", values).first() is not None
