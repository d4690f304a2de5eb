"""Rotates a key: a next secret beside the current one, and the grace of the old one."""

from __future__ import annotations

from datetime import datetime

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


def activate_next_secret(connection: Connection, key_id: str, secret_hash: str, now: datetime) -> bool:
    """Make a key's next secret, of this hash, the current one, and the current one the old one.

    False when there is nothing to do any more: another use did it, or the rotation was cancelled.
    """
    values = {"key_id": key_id, "secret_hash": secret_hash, "now": to_milliseconds(now)}
    return SQL.run(connection, "activate_next_secret", values).rowcount == 1


def rotate_key(
    connection: Connection, service_secret: ServiceSecret, key_id: str, grace_hours: int, actor: Actor, now: datetime
) -> NewKey:
    """Make the next secret of a key. The secret is known only now.

    UsageError when there is no such key, it is revoked or expired, its next secret is unused, or the grace is out of
    range.
    """
    key = find_key(connection, key_id)
    wrong = _find_rotation_problems(key, now)
    if not 0 <= grace_hours <= MOST_GRACE_HOURS:
        wrong.append(f"The grace is 0 to {MOST_GRACE_HOURS} hours, not {grace_hours}.")
    if wrong:
        raise UsageError("\n".join(wrong))
    new = NewKey(key.id, credentials.mint(credentials.KEY_SECRET))
    # If two rotations run at once, the second finds that there is a next secret.
    free = KEYS.c.id == key.id, KEYS.c.next_secret_hash.is_(None), KEYS.c.revoked_at.is_(None)
    values = {
        "next_secret_hash": service_secret.hash(SECRET_PURPOSE, new.secret),
        "next_secret_created_at": now,
        "next_grace_hours": grace_hours,
    }
    if connection.execute(KEYS.update().where(*free).values(values)).rowcount != 1:
        raise UsageError("\n".join(_find_rotation_problems(find_key(connection, key_id), now)))
    record_change(connection, key, actor, Action.KEY_ROTATED, now, {"grace_hours": grace_hours})
    return new


def cancel_rotation(connection: Connection, key_id: str, actor: Actor, now: datetime) -> None:
    """Take back the next secret of a key; UsageError when there is none that is unused."""
    key = find_key(connection, key_id)
    unused = KEYS.c.id == key.id, KEYS.c.next_secret_hash.is_not(None)
    nothing = {"next_secret_hash": None, "next_secret_created_at": None, "next_grace_hours": None}
    if connection.execute(KEYS.update().where(*unused).values(nothing)).rowcount != 1:
        raise UsageError(f"{key.id} has no unused second secret: there is nothing to take back.")
    record_change(connection, key, actor, Action.KEY_ROTATION_CANCELLED, now)


def _find_rotation_problems(key: Key, now: datetime) -> list[str]:
    if key.revoked_at is not None:
        return [f"{key.id} is revoked: create another key."]
    if key.is_expired(now):
        return [f"{key.id} has expired: create another key."]
    if key.has_next_secret and key.next_secret_created_at is not None:
        made = f"{key.next_secret_created_at:%Y-%m-%d %H:%M} UTC"
        todo = "use it, or cancel this rotation, before the next one."
        return [f"{key.id} has a second secret already, made {made} and not used yet: {todo}"]
    return []
