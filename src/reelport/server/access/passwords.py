"""Hashes and checks users' passwords, with Argon2id."""

from __future__ import annotations

from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import Type

SHORTEST, LONGEST = 12, 1000
"""Characters of a password."""
NO_PASSWORD = ""
"""Stored in place of a hash for a user who has set no password yet: then no text is right."""

# The least that OWASP's cheat sheet on storing passwords advises: 19 MiB for a check, so that a few at the same time
# need little of an API process's memory.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1, type=Type.ID)


def find_password_problem(password: str) -> str | None:
    """Say why a text can't be a password; None when it can. No kind of character is asked for."""
    if not SHORTEST <= len(password) <= LONGEST:
        return f"A password has {SHORTEST} to {LONGEST:,} characters, and not {len(password):,}."
    if not password.isprintable():
        return "A password has printable characters alone."
    return None


def hash_password(password: str) -> str:
    """Hash a password with its own salt, in some 20 ms; the hash names its parameters."""
    return _HASHER.hash(password)


def is_password(given: str, stored: str | None) -> bool:
    """Whether `stored` is the hash of a password; takes as long for NO_PASSWORD and for None."""
    if len(given) > LONGEST:
        return False
    try:
        _HASHER.verify(stored or _hash_nothing(), given.encode("utf-8", "surrogatepass"))
    except (VerificationError, InvalidHashError):
        return False
    return bool(stored)


@cache
def _hash_nothing() -> str:
    return _HASHER.hash("")
