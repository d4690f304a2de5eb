"""Refresh tokens: the grace of a replaced one, how many are kept, and when one was stolen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, select

from reelport.server import credentials
from reelport.server.access.callers import Login
from reelport.server.credentials import ServiceSecret
from reelport.server.state.tables import REFRESH_TOKENS, USERS

REPLACEMENT_GRACE = timedelta(seconds=60)
"""How long a replaced refresh token may be sent again: the answer that brought its successor may have been lost."""
_LOGINS_KEPT = 100
"""Logins of one user whose refresh tokens are kept; the oldest go first."""
_TOKENS_KEPT = 100
"""Refresh tokens of one login that are kept, replaced ones too: of older ones it isn't noticed that they are stolen."""
_PURPOSE = "refresh"


@dataclass(frozen=True, slots=True)
class RefreshTokens:
    """The refresh tokens of one login, each replacing the one before; `scopes` are its own."""

    id: str
    login: Login
    scopes: frozenset[str]


def issue_refresh_token(
    connection: Connection,
    service_secret: ServiceSecret,
    key_id: str,
    family: RefreshTokens,
    now: datetime,
    life: timedelta,
) -> str:
    """Issue the next refresh token of a login by a key."""
    refresh_token = credentials.mint(credentials.REFRESH_TOKEN)
    token_hash = service_secret.hash(_PURPOSE, refresh_token)
    connection.execute(
        REFRESH_TOKENS.insert().values(
            token_hash=token_hash,
            family=family.id,
            key_id=key_id,
            user_id=family.login.user_id,
            epoch=family.login.epoch,
            scopes=" ".join(sorted(family.scopes)),
            issued_at=now,
            expires_at=now + life,
        )
    )
    _delete_old_tokens(connection, family, token_hash, now)
    return refresh_token


def lock_refresh_token(
    connection: Connection, service_secret: ServiceSecret, refresh_token: str, key_id: str, now: datetime
) -> Row[Any] | None:
    """Lock a refresh token, and return its row unless it is worth nothing.

    A stolen one ends its family.
    """
    of_token = REFRESH_TOKENS.c.token_hash == service_secret.hash(_PURPOSE, refresh_token)
    user_id = select(REFRESH_TOKENS.c.user_id).where(of_token).scalar_subquery()
    lock_user(connection, USERS.c.id == user_id)
    row = connection.execute(select(REFRESH_TOKENS).where(of_token).with_for_update()).first()
    if row is None or row.key_id != key_id or row.expires_at <= now:
        return None
    if row.replaced_at is not None and now - row.replaced_at > REPLACEMENT_GRACE:
        connection.execute(REFRESH_TOKENS.delete().where(REFRESH_TOKENS.c.family == row.family))
        return None
    return row


def mark_replaced(connection: Connection, row: Row[Any], now: datetime) -> None:
    """Note when a refresh token was replaced for the first time."""
    if row.replaced_at is None:
        of_token = REFRESH_TOKENS.c.token_hash == row.token_hash
        connection.execute(REFRESH_TOKENS.update().where(of_token).values(replaced_at=now))


def lock_user(connection: Connection, which: ColumnElement[bool]) -> None:
    """Lock a user: others who grant, end logins or remove the user wait.

    Lock a user before any of the user's tokens: removal takes them in this order too.
    """
    connection.execute(select(USERS.c.id).where(which).with_for_update(key_share=True))


def _delete_old_tokens(connection: Connection, family: RefreshTokens, newest: str, now: datetime) -> None:
    """Delete a user's expired refresh tokens, and all but the newest of login and user.

    The newest one stays also where the clock was set back.
    """
    tokens = REFRESH_TOKENS.c
    of_user, of_family = tokens.user_id == family.login.user_id, tokens.family == family.id
    connection.execute(REFRESH_TOKENS.delete().where(of_user, tokens.expires_at <= now))
    others = select(tokens.token_hash).where(of_family, tokens.token_hash != newest)
    by_age = others.order_by(tokens.issued_at.desc()).offset(_TOKENS_KEPT - 1)
    if old := connection.execute(by_age).scalars().all():
        connection.execute(REFRESH_TOKENS.delete().where(tokens.token_hash.in_(old)))
    others = select(tokens.family).where(of_user, ~of_family).group_by(tokens.family)
    by_age = others.order_by(func.max(tokens.issued_at).desc()).offset(_LOGINS_KEPT - 1)
    if old := connection.execute(by_age).scalars().all():
        connection.execute(REFRESH_TOKENS.delete().where(tokens.family.in_(old)))
