"""Grants access tokens for API keys: the grants of OAuth 2.0 that need no user."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Connection, Engine

from reelport.catalog import Limit, Scope
from reelport.server.access.access_tokens import REPORT_SCOPES, TokenContent, make_token
from reelport.server.access.callers import SQL, clean_text, read_terms
from reelport.server.access.key_expiry import KeyKind, effective_expiry, is_expired
from reelport.server.credentials import ServiceSecret
from reelport.server.state.database import reading


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
    """A new access token, valid for `seconds`, with its scopes in the order of REPORT_SCOPES.

    A grant to a user has the user's id and a refresh token, too.
    """

    token: str
    scopes: tuple[str, ...]
    seconds: int
    user_id: str | None = None
    refresh_token: str | None = None

    def __repr__(self) -> str:
        return f"Grant({' '.join(self.scopes)})"


@dataclass(frozen=True, slots=True)
class GrantingKey:
    """A key that is valid and whose secret was right."""

    id: str
    kind: KeyKind
    organization_id: int
    scopes: frozenset[str]
    expires_at: datetime | None


def grant_token(
    db: Engine,
    service_secret: ServiceSecret,
    client: ClientCredentials,
    scopes: Iterable[str],
    now: datetime,
    *,
    seconds: int = Limit.TOKEN_SECONDS.default,
) -> Grant | Refusal:
    """Grant a private key a token with the requested scopes that it holds; all when none is.

    Every key may have `manage_reports`: it stands for the scopes that the key holds, and adds none to them.
    Unknown scopes and those that the key lacks are left out; INVALID_SCOPE when that leaves none.
    """
    with reading(db) as connection:
        key = find_granting_key(connection, service_secret, client, now)
    if key is None:
        return Refusal.INVALID_CLIENT
    if key.kind is not KeyKind.PRIVATE:
        return Refusal.UNAUTHORIZED_CLIENT
    granted = choose_scopes(key.scopes, key.scopes | {Scope.MANAGE_REPORTS}, scopes)
    if not granted:
        return Refusal.INVALID_SCOPE
    content = TokenContent(key.id, frozenset(granted))
    return Grant(make_token(service_secret, content, now + timedelta(seconds=seconds)), granted, seconds)


def grant_anonymous_token(
    db: Engine, service_secret: ServiceSecret, client: ClientCredentials, now: datetime, *, seconds: int
) -> Grant | Refusal:
    """Grant a token without user or scope: what a public host gives without a password."""
    with reading(db) as connection:
        key = find_granting_key(connection, service_secret, client, now)
    if key is None:
        return Refusal.INVALID_CLIENT
    content = TokenContent(key.id, frozenset())
    return Grant(make_token(service_secret, content, now + timedelta(seconds=seconds)), (), seconds)


def find_granting_key(
    connection: Connection, service_secret: ServiceSecret, client: ClientCredentials, now: datetime
) -> GrantingKey | None:
    """Find a valid key by its id and secret.

    None when it is unknown, revoked, expired or Studio's, or the secret is wrong.
    """
    found = SQL.run(connection, "key", {"key_id": clean_text(client.id)}).first()
    # Compute the hash for an unknown key too: the time that a refusal takes must not reveal which ids exist.
    is_right = service_secret.matches("key", client.secret, found.secret_hash if found else None)
    if found is None or not is_right or found.revoked_at is not None:
        return None
    terms, scopes = read_terms(found), frozenset(found.permissions.split())
    if terms.kind is KeyKind.STUDIO or is_expired(terms, now):
        return None
    return GrantingKey(clean_text(client.id), terms.kind, found.organization_id, scopes, effective_expiry(terms))


def choose_scopes(held: frozenset[str], may_have: frozenset[str], asked: Iterable[str]) -> tuple[str, ...]:
    """Choose the requested scopes that one may have; all that one holds when none is."""
    wanted = set(asked) or held
    return tuple(scope for scope in REPORT_SCOPES if scope in may_have & wanted)
