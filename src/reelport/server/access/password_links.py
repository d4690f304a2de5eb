"""Links by which users set their passwords: they live for three days.

A link is used once. It holds a signed random token, and the state its hash. Opening it changes nothing: programs that
check mail open every link.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine, delete, or_, select

from reelport.errors import UsageError
from reelport.language import N_
from reelport.server import credentials
from reelport.server.access import audit_log, users
from reelport.server.access.audit_log import Action, Actor
from reelport.server.access.users import end_logins, find_password_problems
from reelport.server.credentials import ServiceSecret
from reelport.server.state.database import reading, writing
from reelport.server.state.tables import ORGANIZATIONS, PASSWORD_LINKS, USERS

LIFE = timedelta(hours=72)
_PREFIX = "rpl"
_PURPOSE = "password link"
_TOKEN_BYTES = 24


@dataclass(frozen=True, slots=True)
class NewPasswordLink:
    """A link that was just made. Its token is known only now."""

    email: str
    expires_at: datetime
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class PasswordLink:
    """A valid link, and the user whose password it sets."""

    user_id: str
    email: str
    organization_id: int | None
    organization: str | None
    expires_at: datetime


def insert_link(
    connection: Connection, service_secret: ServiceSecret, user_id: str, email: str, now: datetime
) -> NewPasswordLink:
    """Make a link for a user, and delete the user's earlier links and all that have expired."""
    token = credentials.sign(service_secret, _PREFIX, secrets.token_bytes(_TOKEN_BYTES))
    new = NewPasswordLink(email, now + LIFE, token)
    links = PASSWORD_LINKS.c
    connection.execute(delete(PASSWORD_LINKS).where(or_(links.user_id == user_id, links.expires_at <= now)))
    row = {"token_hash": service_secret.hash(_PURPOSE, token), "user_id": user_id}
    connection.execute(PASSWORD_LINKS.insert().values(**row, created_at=now, expires_at=new.expires_at))
    return new


def find_link(db: Engine, service_secret: ServiceSecret, token: str, now: datetime) -> PasswordLink | None:
    """Find a link; None when it is unknown, used or expired."""
    if credentials.read_signed(service_secret, _PREFIX, token) is None:
        return None
    with reading(db) as connection:
        return _find(connection, service_secret.hash(_PURPOSE, token), now)


def set_password(
    db: Engine, service_secret: ServiceSecret, token: str, password: str, address: str, now: datetime
) -> PasswordLink | None:
    """Set a user's password by a link, which ends with every login; None when it isn't valid.

    UsageError says why the text can't be a password. Hashing takes some 20 ms of CPU.
    """
    if find_link(db, service_secret, token, now) is None:
        return None
    if wrong := find_password_problems(password):
        raise UsageError("\n".join(wrong))
    hashed, token_hash = users.hash_password(password), service_secret.hash(_PURPOSE, token)
    with writing(db) as connection:
        link = _find(connection, token_hash, now)
        if link is None:
            return None
        # The user before the link, as where a user is removed with the links.
        connection.execute(select(USERS.c.id).where(USERS.c.id == link.user_id).with_for_update())
        if connection.execute(delete(PASSWORD_LINKS).where(PASSWORD_LINKS.c.token_hash == token_hash)).rowcount != 1:
            return None  # another request used it meanwhile
        end_logins(connection, link.user_id, hashed)
        actor, details = Actor(link.email, address), {"by": N_("a link")}
        audit_log.record_action(
            connection, link.organization_id, actor, Action.PASSWORD_CHANGED, link.email, now, details
        )
        return link


def _find(connection: Connection, token_hash: str, now: datetime) -> PasswordLink | None:
    found = connection.execute(
        select(USERS.c.id, USERS.c.email, USERS.c.organization_id, ORGANIZATIONS.c.name, PASSWORD_LINKS.c.expires_at)
        .join(PASSWORD_LINKS, PASSWORD_LINKS.c.user_id == USERS.c.id)
        .outerjoin(ORGANIZATIONS, ORGANIZATIONS.c.id == USERS.c.organization_id)
        .where(PASSWORD_LINKS.c.token_hash == token_hash, PASSWORD_LINKS.c.expires_at > now)
    ).first()
    return None if found is None else PasswordLink(*found)
