"""Who calls and what they may: a key is exchanged for a token, and a token tells its caller."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import IntegrityError

from reelport.catalog import Limit
from reelport.server import credentials
from reelport.server.credentials import Seal
from reelport.server.database import reading, writing
from reelport.server.tables import KEY_CHANNELS, KEYS, ORGANIZATIONS, READABLE, TOKENS
from reelport.wire import Scope

REPORT_SCOPES = tuple(scope.value for scope in Scope)
"""Every scope that a key may hold, in the order in which they are told."""


class Refusal(StrEnum):
    """Why no token is granted, in the words of OAuth."""

    INVALID_CLIENT = "invalid_client"
    INVALID_SCOPE = "invalid_scope"


@dataclass(frozen=True, slots=True)
class Grant:
    """A new access token: opaque, alive for `seconds`, with the granted scopes in our order."""

    token: str
    scopes: tuple[str, ...]
    seconds: int

    def __repr__(self) -> str:
        return f"Grant({' '.join(self.scopes)})"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who holds a token. `scopes` is what counts: `manage_reports` has brought every scope of the key.

    `channels` are the ids of the channels that may be read now.
    """

    key_id: str
    organization_id: int
    organization: str
    scopes: frozenset[str]
    channels: frozenset[str]


def grant(
    db: Engine,
    seal: Seal,
    client_id: str,
    client_secret: str,
    scopes: Iterable[str],
    now: datetime,
    *,
    seconds: int = Limit.TOKEN_SECONDS.default,
) -> Grant | Refusal:
    """A token for a key: the asked scopes that the key holds, all of the key's when none is asked.

    `manage_reports` is granted to every key: it stands for the scopes that the key holds, and adds none to them.
    Scopes that nobody knows and those that the key lacks are left out; INVALID_SCOPE when that leaves none.
    """
    with reading(db) as connection:
        held = _held(connection, seal, client_id, client_secret)
    if held is None:
        return Refusal.INVALID_CLIENT
    asked = set(scopes)
    may_have = held | {Scope.MANAGE_REPORTS} if asked else held
    granted = tuple(scope for scope in REPORT_SCOPES if scope in may_have and (scope in asked or not asked))
    if not granted:
        return Refusal.INVALID_SCOPE
    token = credentials.mint(credentials.ACCESS_TOKEN)
    try:
        with writing(db) as connection:
            connection.execute(
                TOKENS.insert().values(
                    hash=seal.hash("token", token),
                    key_id=client_id,
                    scopes=" ".join(granted),
                    expires_at=now + timedelta(seconds=seconds),
                )
            )
    except IntegrityError:
        # The key was removed, with its organization, since it was looked at.
        return Refusal.INVALID_CLIENT
    return Grant(token, granted, seconds)


def _held(connection: Connection, seal: Seal, client_id: str, client_secret: str) -> frozenset[str] | None:
    """The scopes of the key; None when there is no such key, the secret is wrong or the key is revoked."""
    found = connection.execute(
        select(KEYS.c.secret_hash, KEYS.c.permissions, KEYS.c.revoked_at).where(KEYS.c.id == _text(client_id))
    ).first()
    # The hash is computed for an unknown key too: the time to refuse must not tell which ids exist.
    right = seal.same("key", client_secret, found.secret_hash if found else None)
    if found is None or not right or found.revoked_at is not None:
        return None
    return frozenset(found.permissions.split())


def bearer(db: Engine, seal: Seal, token: str, now: datetime) -> Caller | None:
    """The caller that a token stands for; None when it is unknown, expired, or its key is revoked."""
    if not credentials.well_formed(credentials.ACCESS_TOKEN, token):
        return None
    with reading(db) as connection:
        found = connection.execute(
            select(
                KEYS.c.id,
                KEYS.c.organization_id,
                ORGANIZATIONS.c.name,
                KEYS.c.permissions,
                KEYS.c.limited,
                TOKENS.c.scopes,
            )
            .select_from(TOKENS.join(KEYS).join(ORGANIZATIONS))
            .where(
                TOKENS.c.hash == seal.hash("token", token),
                TOKENS.c.expires_at > now,
                KEYS.c.revoked_at.is_(None),
            )
        ).first()
        if found is None:
            return None
        channels = readable(connection, found.organization_id, found.id if found.limited else None)
    return Caller(found.id, found.organization_id, found.name, _effective(found.scopes, found.permissions), channels)


def _effective(granted: str, permissions: str) -> frozenset[str]:
    scopes = frozenset(granted.split())
    return scopes | frozenset(permissions.split()) if Scope.MANAGE_REPORTS in scopes else scopes


def readable(connection: Connection, organization_id: int, limited_key: str | None = None) -> frozenset[str]:
    """The ids of the channels that an organization may read, or one of its keys that is limited to some."""
    channels = select(READABLE.c.channel_id).where(READABLE.c.organization_id == organization_id)
    if limited_key is not None:
        channels = channels.join(KEY_CHANNELS, KEY_CHANNELS.c.channel_id == READABLE.c.channel_id).where(
            KEY_CHANNELS.c.key_id == limited_key
        )
    return frozenset(connection.execute(channels).scalars())


def _text(given: str) -> str:
    """What a database can be asked for: no text that it holds has a NUL or half a surrogate pair."""
    return "" if "\0" in given else given.encode("utf-8", "replace").decode()
