"""Grants access tokens for API keys: the grants of OAuth 2.0 that need no user."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Engine, Row

from reelport.catalog import Limit, Scope
from reelport.server.access.access_tokens import REPORT_SCOPES, TokenContent, make_token
from reelport.server.access.callers import SQL, clean_text, read_terms
from reelport.server.access.key_expiry import KeyKind, earliest, effective_expiry, is_expired
from reelport.server.access.keys import SECRET_PURPOSE, FirstUse, SecretHashes, SecretRole, find_role
from reelport.server.credentials import ServiceSecret
from reelport.server.state.database import reading
from reelport.server.state.tables import to_moment


class Refusal(StrEnum):
    """Why no token is granted: an error code of OAuth 2.0 (RFC 6749, section 5.2)."""

    INVALID_CLIENT = "invalid_client"
    INVALID_GRANT = "invalid_grant"
    INVALID_SCOPE = "invalid_scope"
    UNAUTHORIZED_CLIENT = "unauthorized_client"


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """The id and secret of a key, as they came with a request."""

    id: str
    secret: str

    def __repr__(self) -> str:
        return f"ClientCredentials({self.id})"


@dataclass(frozen=True, slots=True)
class Grant:
    """A new access token, valid for `seconds`; its scopes are in the order of REPORT_SCOPES.

    A grant to a user has the user's id and a refresh token, too. `key_expires_at` is when the key ends by itself.
    """

    token: str
    scopes: tuple[str, ...]
    seconds: int
    user_id: str | None = None
    refresh_token: str | None = None
    key_expires_at: datetime | None = None

    def __repr__(self) -> str:
        return f"Grant({' '.join(self.scopes)})"


@dataclass(frozen=True, slots=True)
class GrantingKey:
    """A key that is valid and whose secret was right.

    `expires_at` is when the key expires; `secret_until` when the sent secret ends, which may be before.
    """

    id: str
    kind: KeyKind
    organization_id: int
    scopes: frozenset[str]
    expires_at: datetime | None
    secret_until: datetime | None

    def limit_life(self, seconds: int, now: datetime) -> int:
        """Limit a token's life, so that it ends with the key and with the secret that it came by."""
        return seconds if self.secret_until is None else min(seconds, int((self.secret_until - now).total_seconds()))


def grant_token(
    db: Engine,
    service_secret: ServiceSecret,
    client: ClientCredentials,
    scopes: Iterable[str],
    now: datetime,
    *,
    seconds: int = Limit.TOKEN_SECONDS.default,
) -> Grant | Refusal | FirstUse:
    """Grant a private key a token with the requested scopes that it holds; all when none is.

    Every key may have `manage_reports`: it stands for the scopes that the key holds, and adds none to them.
    Unknown scopes and those that the key lacks are left out; INVALID_SCOPE when that leaves none.
    """
    with reading(db) as connection:
        key = find_granting_key(connection, service_secret, client, now)
    if not isinstance(key, GrantingKey):
        return key
    if key.kind is not KeyKind.PRIVATE:
        return Refusal.UNAUTHORIZED_CLIENT
    granted = choose_scopes(key.scopes, key.scopes | {Scope.MANAGE_REPORTS}, scopes)
    return _grant(service_secret, key, granted, now, seconds) if granted else Refusal.INVALID_SCOPE


def grant_anonymous_token(
    db: Engine, service_secret: ServiceSecret, client: ClientCredentials, now: datetime, *, seconds: int
) -> Grant | Refusal | FirstUse:
    """Grant a token without user or scope: what a public host gives without a password."""
    with reading(db) as connection:
        key = find_granting_key(connection, service_secret, client, now)
    return _grant(service_secret, key, (), now, seconds) if isinstance(key, GrantingKey) else key


def _grant(
    service_secret: ServiceSecret, key: GrantingKey, granted: tuple[str, ...], now: datetime, seconds: int
) -> Grant:
    life = key.limit_life(seconds, now)
    token = make_token(service_secret, TokenContent(key.id, frozenset(granted)), now + timedelta(seconds=life))
    return Grant(token, granted, life, key_expires_at=key.expires_at)


def find_granting_key(
    connection: Connection, service_secret: ServiceSecret, client: ClientCredentials, now: datetime
) -> GrantingKey | Refusal | FirstUse:
    """Find a valid key by its id and secret.

    INVALID_CLIENT when it is unknown, revoked, expired or Studio's, or the secret is wrong. FirstUse when the secret
    is the next one of a rotation.
    """
    found = SQL.run(connection, "key", {"key_id": clean_text(client.id)}).first()
    # Hash and compare for an unknown key too: the time that a refusal takes must not reveal which ids exist.
    given = service_secret.hash(SECRET_PURPOSE, client.secret)
    hashes = _read_hashes(found) if found else SecretHashes()
    role = find_role(given, hashes, now)
    if found is None or role is None or found.revoked_at is not None:
        return Refusal.INVALID_CLIENT
    terms = read_terms(found)
    if terms.kind is KeyKind.STUDIO or is_expired(terms, now):
        return Refusal.INVALID_CLIENT
    key_id, scopes, expires_at = clean_text(client.id), frozenset(found.permissions.split()), effective_expiry(terms)
    if role is SecretRole.NEXT:
        return FirstUse(key_id, given)
    secret_until = earliest(expires_at, hashes.old_until) if role is SecretRole.OLD else expires_at
    return GrantingKey(key_id, terms.kind, found.organization_id, scopes, expires_at, secret_until)


def _read_hashes(row: Row[*tuple[Any, ...]]) -> SecretHashes:
    """Read the hashes of a key's secrets.

    In its grace too an old secret gets no older than the organization allows.
    """
    if row.old_secret_hash is None:
        return SecretHashes(row.secret_hash, row.next_secret_hash)
    aged = replace(read_terms(row), secret_created_at=to_moment(row.old_secret_created_at))
    old_until = earliest(to_moment(row.old_secret_until), effective_expiry(aged))
    return SecretHashes(row.secret_hash, row.next_secret_hash, row.old_secret_hash, old_until)


def choose_scopes(held: frozenset[str], may_have: frozenset[str], asked: Iterable[str]) -> tuple[str, ...]:
    """Choose the requested scopes that one may have; all that one holds when none is."""
    wanted = set(asked) or held
    return tuple(scope for scope in REPORT_SCOPES if scope in may_have & wanted)
