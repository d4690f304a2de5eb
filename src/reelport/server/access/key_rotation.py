"""Rotation of a key's secret, without a moment in which none works.

A rotation makes the next secret. Its first use makes it the key's secret; the one before is the old secret from then
on, and is valid for the grace that was chosen. Until that first use nothing changes, and the rotation can be
cancelled.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection

from reelport.errors import UsageError
from reelport.server import credentials
from reelport.server.access.audit_log import Action, Actor
from reelport.server.access.callers import SQL
from reelport.server.access.keys import SECRET_PURPOSE, Key, NewKey, find_key, record_change
from reelport.server.credentials import ServiceSecret
from reelport.server.state.tables import KEYS, to_milliseconds

DEFAULT_GRACE_HOURS = 24
MOST_GRACE_HOURS = 720
"""Hours that an old secret may be valid after the first use of the next one: thirty days."""
_NO_HASH = "-" * 64
"""As long as a hash, and equal to none."""


class SecretRole(StrEnum):
    """Which of a key's secrets one is."""

    CURRENT = "current"
    NEXT = "next"
    OLD = "old"


@dataclass(frozen=True, slots=True)
class SecretHashes:
    """The hashes of a key's secrets. The old one is valid until `old_until`."""

    current: str | None = None
    next: str | None = None
    old: str | None = None
    old_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class FirstUse:
    """The next secret of a key was sent: `begin_secret` makes it the one, then ask again."""

    key_id: str
    secret_hash: str


def find_role(given: str, stored: SecretHashes, now: datetime) -> SecretRole | None:
    """Find which secret of a key has the hash `given`; None for none that is valid now.

    Compares all three whatever is stored: its time must not reveal which matched, or whether there are any.
    """
    is_current = hmac.compare_digest(given, stored.current or _NO_HASH)
    is_next = hmac.compare_digest(given, stored.next or _NO_HASH)
    is_old = hmac.compare_digest(given, stored.old or _NO_HASH)
    if is_current:
        return SecretRole.CURRENT
    if is_next:
        return SecretRole.NEXT
    return SecretRole.OLD if is_old and stored.old_until is not None and now < stored.old_until else None


def begin_secret(connection: Connection, use: FirstUse, now: datetime) -> bool:
    """Make the next secret of a key its secret, and the one before its old secret.

    False when there is nothing to do any more: another use did it, or the rotation was cancelled.
    """
    values = {"key_id": use.key_id, "secret_hash": use.secret_hash, "now": to_milliseconds(now)}
    return SQL.run(connection, "begin_secret", values).rowcount == 1


def rotate_key(
    connection: Connection, service_secret: ServiceSecret, key_id: str, grace_hours: int, actor: Actor, now: datetime
) -> NewKey:
    """Make the next secret of a key, which is known only now.

    UsageError when there is no such key, it is revoked or expired, its next secret is unused, or the grace is out of
    range.
    """
    key = find_key(connection, key_id)
    wrong = _find_problems(key, now)
    if not 0 <= grace_hours <= MOST_GRACE_HOURS:
        wrong.append(f"The grace is 0 to {MOST_GRACE_HOURS} hours, not {grace_hours}.")
    if wrong:
        raise UsageError("\n".join(wrong))
    new = NewKey(key.id, credentials.mint(credentials.KEY_SECRET))
    # Of two rotations at once one finds that there is a next secret.
    free = KEYS.c.id == key.id, KEYS.c.next_secret_hash.is_(None), KEYS.c.revoked_at.is_(None)
    values = {
        "next_secret_hash": service_secret.hash(SECRET_PURPOSE, new.secret),
        "next_secret_created_at": now,
        "next_grace_hours": grace_hours,
    }
    if connection.execute(KEYS.update().where(*free).values(values)).rowcount != 1:
        raise UsageError("\n".join(_find_problems(find_key(connection, key_id), now)))
    record_change(connection, key, actor, Action.KEY_ROTATED, now, {"grace_hours": grace_hours})
    return new


def cancel_rotation(connection: Connection, key_id: str, actor: Actor, now: datetime) -> None:
    """Take back the next secret of a key; UsageError when there is none that is unused."""
    key = find_key(connection, key_id)
    unused = KEYS.c.id == key.id, KEYS.c.next_secret_hash.is_not(None)
    # When it was made stays: a form that was shown before must not rotate the key again.
    nothing = {"next_secret_hash": None, "next_grace_hours": None}
    if connection.execute(KEYS.update().where(*unused).values(nothing)).rowcount != 1:
        raise UsageError(f"{key.id} has no unused second secret: there is nothing to take back.")
    record_change(connection, key, actor, Action.KEY_ROTATION_CANCELLED, now)


def _find_problems(key: Key, now: datetime) -> list[str]:
    """List why the secret of a key can't be rotated now."""
    if key.revoked_at is not None:
        return [f"{key.id} is revoked: create another key."]
    if key.is_expired(now):
        return [f"{key.id} has expired: create another key."]
    if key.has_next_secret and key.next_secret_created_at is not None:
        made = f"{key.next_secret_created_at:%Y-%m-%d %H:%M} UTC"
        todo = "use it, or cancel this rotation, before the next one."
        return [f"{key.id} has a second secret already, made {made} and not used yet: {todo}"]
    return []
