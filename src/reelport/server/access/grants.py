"""Grants access tokens: the grants of OAuth 2.0.

A private key gets one by its secret. A user gets one by a public key: with a password, then by rotating refresh tokens
(`access.refresh_tokens`).
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Connection, Engine, select

from reelport.catalog import Limit, Scope
from reelport.server import credentials
from reelport.server.access.callers import (
    REPORT_SCOPES,
    SQL,
    Login,
    TokenContent,
    clean_text,
    combine_scopes,
    find_reach,
    make_token,
    read_terms,
)
from reelport.server.access.key_expiry import KeyKind, earliest, effective_expiry
from reelport.server.access.key_rotation import activate_next_secret
from reelport.server.access.keys import SECRET_PURPOSE
from reelport.server.access.refresh_tokens import (
    RefreshTokens,
    issue_refresh_token,
    lock_refresh_token,
    lock_user,
    mark_replaced,
)
from reelport.server.access.roles import Role, demands_factor
from reelport.server.access.users import is_password, normalize_email
from reelport.server.credentials import ServiceSecret
from reelport.server.state.database import reading, writing
from reelport.server.state.tables import USERS, to_moment

_NO_HASH = "-" * 64
"""As long as a hash, and equal to none."""


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
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Grant:
    """A new access token, valid for `seconds`; its scopes are in the order of REPORT_SCOPES.

    A grant to a user has the user's id and a refresh token, too. `key_expires_at` is when the key ends by itself.
    """

    token: str = field(repr=False)
    scopes: tuple[str, ...]
    seconds: int
    user_id: str | None = None
    refresh_token: str | None = field(repr=False, default=None)
    key_expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class _GrantingKey:
    """A key that is valid and whose secret was right.

    `expires_at` is when the key expires; `secret_until` when the sent secret ends, which may be before. `next_hash` is
    that of a next secret which is used first: a rotation's, whose end comes before any grant.
    """

    id: str
    kind: KeyKind
    organization_id: int
    scopes: frozenset[str]
    expires_at: datetime | None
    secret_until: datetime | None
    next_hash: str | None


def grant_token(
    db: Engine,
    service_secret: ServiceSecret,
    client: ClientCredentials,
    scopes: Iterable[str],
    now: datetime,
    *,
    seconds: int = Limit.TOKEN_SECONDS.default,
) -> Grant | Refusal:
    """Grant a private key a token with the requested scopes that it holds, or with all.

    Every key may have `manage_reports`: it stands for the scopes that the key holds, and adds none to them.
    Unknown scopes and those that the key lacks are left out; INVALID_SCOPE when that leaves none.
    """
    key = _find_key(db, service_secret, client, now)
    if not isinstance(key, _GrantingKey):
        return key
    if key.kind is not KeyKind.PRIVATE:
        return Refusal.UNAUTHORIZED_CLIENT
    granted = _choose_scopes(key.scopes, key.scopes | {Scope.MANAGE_REPORTS}, scopes)
    return _grant(service_secret, key, granted, now, seconds) if granted else Refusal.INVALID_SCOPE


def grant_anonymous_token(
    db: Engine, service_secret: ServiceSecret, client: ClientCredentials, now: datetime, *, seconds: int
) -> Grant | Refusal:
    """Grant a token without user or scope: what a public host gives without a password."""
    key = _find_key(db, service_secret, client, now)
    return _grant(service_secret, key, (), now, seconds) if isinstance(key, _GrantingKey) else key


def _grant(
    service_secret: ServiceSecret,
    key: _GrantingKey,
    granted: tuple[str, ...],
    now: datetime,
    seconds: int,
    login: Login | None = None,
) -> Grant:
    if key.secret_until is not None:  # a token ends with its key, and with the secret that got it
        seconds = min(seconds, int((key.secret_until - now).total_seconds()))
    content = TokenContent(key.id, frozenset(granted), login)
    token = make_token(service_secret, content, now + timedelta(seconds=seconds))
    return Grant(token, granted, seconds, key_expires_at=key.expires_at)


def _find_key(
    db: Engine, service_secret: ServiceSecret, client: ClientCredentials, now: datetime
) -> _GrantingKey | Refusal:
    """Find a valid key by its id and secret; the first use of its next secret ends a rotation."""
    while True:
        with reading(db) as connection:
            found = _look_for_key(connection, service_secret, client, now)
        if isinstance(found, Refusal) or found.next_hash is None:
            return found
        with writing(db) as connection:
            activate_next_secret(connection, found.id, found.next_hash, now)


def _look_for_key(
    connection: Connection, service_secret: ServiceSecret, client: ClientCredentials, now: datetime
) -> _GrantingKey | Refusal:
    key_id, given = clean_text(client.id), service_secret.hash(SECRET_PURPOSE, client.secret)
    found = SQL.run(connection, "key", {"key_id": key_id}).first()
    # Compare with all three, for an unknown key too: the time that a refusal takes must not reveal which one matched,
    # or which ids exist.
    stored = (found.secret_hash, found.next_secret_hash, found.old_secret_hash) if found else (None, None, None)
    is_current, is_next, is_old = [hmac.compare_digest(given, each or _NO_HASH) for each in stored]
    if found is None or found.revoked_at is not None or not (is_current or is_next or is_old):
        return Refusal.INVALID_CLIENT
    terms = read_terms(found)
    expires_at = secret_until = effective_expiry(terms)
    if is_old:
        # In its grace too an old secret gets no older than the organization allows.
        aged = replace(terms, secret_created_at=to_moment(found.old_secret_created_at))
        secret_until = earliest(expires_at, to_moment(found.old_secret_until), effective_expiry(aged))
    if terms.kind is KeyKind.STUDIO or (secret_until is not None and secret_until <= now):
        return Refusal.INVALID_CLIENT
    scopes, next_hash = frozenset(found.permissions.split()), given if is_next else None
    return _GrantingKey(key_id, terms.kind, found.organization_id, scopes, expires_at, secret_until, next_hash)


def _choose_scopes(held: frozenset[str], may_have: frozenset[str], asked: Iterable[str]) -> tuple[str, ...]:
    wanted = set(asked) or held
    return tuple(scope for scope in REPORT_SCOPES if scope in may_have & wanted)


@dataclass(frozen=True, slots=True)
class Terms:
    """How long grants live: an access token (in seconds), and a refresh token.

    Of whom `second_factor` demands one, no password alone gets a grant.
    """

    seconds: int
    refresh_life: timedelta
    second_factor: str = "optional"


@dataclass(frozen=True, slots=True)
class Password:
    """What a user signs in with."""

    email: str
    text: str = field(repr=False)

    @property
    def stored_email(self) -> str:
        """The user's address as it is stored, however it is spelled here."""
        return clean_text(normalize_email(self.email))


def grant_by_password(
    db: Engine,
    service_secret: ServiceSecret,
    client: ClientCredentials,
    password: Password,
    scopes: Iterable[str],
    now: datetime,
    terms: Terms,
) -> Grant | Refusal:
    """Grant tokens to a user of the public key's organization; hashing takes some 20 ms of CPU.

    INVALID_GRANT when there is no such user in it, the password is wrong, or the user has a second factor: which of
    them is not told.
    """
    key = _require_public(_find_key(db, service_secret, client, now))
    if not isinstance(key, _GrantingKey):
        return key
    with reading(db) as connection:
        user = SQL.run(connection, "user", {"email": password.stored_email}).first()
    is_right = is_password(password.text, user.password_hash if user else None)
    # A program has no second factor: the password alone must not open what both guard.
    if user is None or not is_right or user.factors or user.organization_id != key.organization_id:
        return Refusal.INVALID_GRANT
    login = Login(user.id, user.epoch)
    with writing(db) as connection:
        lock_user(connection, USERS.c.id == login.user_id)
        reach = find_reach(connection, login, key.organization_id)
        if reach is None or _must_have_factor(connection, login, terms):
            return Refusal.INVALID_GRANT
        held = key.scopes & reach.scopes
        granted = _choose_scopes(held, held | ({Scope.MANAGE_REPORTS} & reach.scopes), scopes)
        if not granted:
            return Refusal.INVALID_SCOPE
        family = RefreshTokens(credentials.short_id(), login, frozenset(granted))
        return _grant_to_user(connection, service_secret, key, family, granted, now, terms)


def grant_by_refresh_token(
    db: Engine,
    service_secret: ServiceSecret,
    client: ClientCredentials,
    refresh_token: str,
    scopes: Iterable[str],
    now: datetime,
    terms: Terms,
) -> Grant | Refusal:
    """Grant tokens in place of a refresh token, with the scopes of its login or fewer.

    INVALID_GRANT when it is unknown, expired or another key's, or its login has ended. One that was replaced more
    than a minute ago was stolen, or its successor was: then every refresh token of that login ends. INVALID_SCOPE
    when the login has none of the requested scopes; the token then stays as it is.
    """
    key = _require_public(_find_key(db, service_secret, client, now))
    if not isinstance(key, _GrantingKey):
        return key
    if not credentials.is_well_formed(credentials.REFRESH_TOKEN, refresh_token):
        return Refusal.INVALID_GRANT

    def replace_token(connection: Connection) -> Grant | Refusal:
        # Again: the key may have been revoked or rotated since, and its token would be left.
        key = _look_for_key(connection, service_secret, client, now)
        if not isinstance(key, _GrantingKey):
            return Refusal.INVALID_CLIENT
        row = lock_refresh_token(connection, service_secret, refresh_token, key.id, now)
        if row is None:
            return Refusal.INVALID_GRANT
        family = RefreshTokens(row.family, Login(row.user_id, row.epoch), frozenset(row.scopes.split()))
        reach = find_reach(connection, family.login, key.organization_id)
        if reach is None or _must_have_factor(connection, family.login, terms):
            return Refusal.INVALID_GRANT
        held, may_have = family.scopes, combine_scopes(family.scopes, key.scopes)
        granted = _choose_scopes(held & reach.scopes, may_have & reach.scopes, scopes)
        if not granted:
            return Refusal.INVALID_SCOPE
        mark_replaced(connection, row, now)
        return _grant_to_user(connection, service_secret, key, family, granted, now, terms)

    with writing(db) as connection:
        return replace_token(connection)


def _must_have_factor(connection: Connection, login: Login, terms: Terms) -> bool:
    role = connection.execute(select(USERS.c.role).where(USERS.c.id == login.user_id)).scalar_one()
    return demands_factor(terms.second_factor, Role(role), is_by_provider=False)


def _require_public(key: _GrantingKey | Refusal) -> _GrantingKey | Refusal:
    is_private = isinstance(key, _GrantingKey) and key.kind is not KeyKind.PUBLIC
    return Refusal.UNAUTHORIZED_CLIENT if is_private else key


def _grant_to_user(
    connection: Connection,
    service_secret: ServiceSecret,
    key: _GrantingKey,
    family: RefreshTokens,
    granted: tuple[str, ...],
    now: datetime,
    terms: Terms,
) -> Grant:
    refresh_token = issue_refresh_token(connection, service_secret, key.id, family, now, terms.refresh_life)
    grant = _grant(service_secret, key, granted, now, terms.seconds, family.login)
    return replace(grant, user_id=family.login.user_id, refresh_token=refresh_token)
