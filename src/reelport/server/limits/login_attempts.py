"""Slows down guessing of passwords, by address: nobody can lock out a user from elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable

from reelport.server.addresses import find_site
from reelport.server.limits.token_buckets import TokenBuckets, hash_owner

_USER_MINUTE, _USER_BURST = 6, 10
"""Wrong passwords of an address for one user: in a minute, after so many at once."""
_ADDRESS_MINUTE, _ADDRESS_BURST = 60, 100
"""The same for all users: an office behind one address mistypes a few in a minute."""


class LoginAttempts:
    """Wrong passwords in one process: of an address for one user, and for all users.

    An attempt counts from its begin, and no longer once the password was right: attempts at the same moment can't
    pass the limit together. Use on the process's event loop only.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._of_user = TokenBuckets(_USER_MINUTE, _USER_BURST, clock)
        self._of_address = TokenBuckets(_ADDRESS_MINUTE, _ADDRESS_BURST, clock)

    def begin(self, address: str, email: str) -> float:
        """Begin an attempt and return 0, or return the seconds until one may begin.

        `email` is the user's as it is stored: another spelling would count as another user.
        """
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


def _hash_owners(address: str, email: str) -> tuple[bytes, bytes]:
    site = find_site(address)
    return hash_owner(site), hash_owner(site, email)
