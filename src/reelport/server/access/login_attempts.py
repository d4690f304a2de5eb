"""Limits guesses at passwords, by address, and at codes of second factors, by user.

Guesses at passwords are slowed down by address, so that nobody can lock out a user from elsewhere. They are counted in
the state: more processes allow no more of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine

from reelport.server.addresses import find_site
from reelport.server.limits.rate_limits import RateLimit, hash_owner
from reelport.server.state.database import writing
from reelport.server.state.statements import Statements
from reelport.server.state.tables import to_milliseconds

_SQL = Statements("access/login_attempts")
_OF_USER = RateLimit(6, 10)
"""Wrong passwords of an address for one user."""
_OF_ADDRESS = RateLimit(60, 100)
"""The same for all users: an office behind one address mistypes a few in a minute."""
_OF_CODES = RateLimit(10 / 60, 10)
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

    def _begin(self, owners: Mapping[bytes, RateLimit]) -> float:
        now, values = self._now(), _name_values(owners)
        with writing(self._db, synced=False) as connection:
            if len(_SQL.run(connection, "begin", {**values, "now": now}).all()) == len(owners):
                return 0.0
            full_at: dict[str, int] = {row.owner: row.full_at for row in _SQL.run(connection, "read", values)}
        waits = (full_at.get(who.hex(), 0) + each.step - each.room - now for who, each in owners.items())
        return max(1, *waits) / 1000

    def _forgive(self, owners: Mapping[bytes, RateLimit]) -> None:
        # In the order of `begin`: two that lock both owners then don't deadlock.
        steps = [{"owner": who.hex(), "step": owners[who].step} for who in sorted(owners)]
        with writing(self._db, synced=False) as connection:
            _SQL.run(connection, "forgive", steps)

    def _now(self) -> int:
        return int(self._clock() * 1000)


def _find_owners(address: str, email: str) -> dict[bytes, RateLimit]:
    site = find_site(address)
    return {hash_owner(site): _OF_ADDRESS, hash_owner(site, email): _OF_USER}


def _name_values(owners: Mapping[bytes, RateLimit]) -> dict[str, object]:
    """Name the values of the statements: one owner stands for both."""
    pairs = [*owners.items()]
    (first, of_first), (second, of_second) = pairs[0], pairs[-1]
    of_both = {"first_step": of_first.step, "first_room": of_first.room}
    of_both |= {"second_step": of_second.step, "second_room": of_second.room}
    return {"first": first.hex(), "second": second.hex(), **of_both}


def use_once(connection: Connection, text: str, life: timedelta, now: datetime) -> bool:
    """Use up a text; False if it was used within this time already."""
    once = RateLimit(60 / life.total_seconds(), 1)
    values = {**_name_values({hash_owner("once", text): once}), "now": to_milliseconds(now)}
    return _SQL.run(connection, "begin", values).first() is not None
