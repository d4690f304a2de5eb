"""Makes and reads access tokens, which are not stored; finds the caller of one."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, select

from reelport.catalog import Scope
from reelport.engine.tenant import Tenant
from reelport.server import credentials
from reelport.server.access.key_expiry import KeyKind, KeyTerms, is_expired
from reelport.server.access.roles import Reach, Role
from reelport.server.credentials import ServiceSecret
from reelport.server.state.database import reading
from reelport.server.state.statements import Statements
from reelport.server.state.tables import READABLE, to_moment

SQL = Statements("access/callers")
"""The statements of callers and grants."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The key and organization behind a token.

    `scopes` already holds all that `manage_reports` stands for. `channels` are the ids of the channels that the key
    may read now. `login` is that of the user who got the token, by a public key.
    """

    key_id: str
    organization_id: int
    organization: str
    scopes: frozenset[str]
    channels: frozenset[str]
    login: Login | None = None


def identify_caller(db: Engine, service_secret: ServiceSecret, token: str, now: datetime) -> Caller | None:
    """Find the caller that a token stands for.

    None when the token is invalid or expired, its key is revoked or expired, or its login has ended.
    """
    content = read_token(service_secret, token, now)
    if content is None:
        return None
    with reading(db) as connection:
        holder = find_holder(connection, content.key_id, now)
        reach = None if holder is None else find_reach(connection, content.login, holder.organization_id)
    if holder is None or reach is None:
        return None
    scopes = combine_scopes(content.scopes, holder.scopes)
    return narrow(replace(holder, scopes=scopes, login=content.login), reach)


def find_holder(connection: Connection, key_id: str, now: datetime) -> Caller | None:
    """Find a key's caller, with every scope of the key; None when it is revoked or expired."""
    found = SQL.run(connection, "holder", {"key_id": key_id}).first()
    if found is None or is_expired(read_terms(found), now):
        return None
    # PostgreSQL aggregates no rows to NULL, not to an empty list.
    channels = frozenset(json.loads(found.channels or "[]"))
    return Caller(key_id, found.organization_id, found.organization, frozenset(found.permissions.split()), channels)


def read_terms(row: Row[*tuple[Any, ...]]) -> KeyTerms:
    """Read when a key expires, from a row of the statement `key` or `holder`."""
    expires_at = None if row.expires_at is None else to_moment(row.expires_at)
    return KeyTerms(KeyKind(row.kind), to_moment(row.secret_created_at), expires_at, row.max_key_days)


def is_still_allowed(connection: Connection, caller: Caller, now: datetime) -> bool:
    """Whether key and login are valid, and the key still reads all of `caller.channels`."""
    holder = find_holder(connection, caller.key_id, now)
    if holder is None:
        return False
    reach = find_reach(connection, caller.login, holder.organization_id)
    return reach is not None and caller.channels <= narrow(holder, reach).channels


def find_reach(connection: Connection, login: Login | None, organization_id: int) -> Reach | None:
    """Find what a login reaches, all without one; None when it isn't valid any more."""
    if login is None:
        return Reach(organization_id)
    named = {"user_id": login.user_id, "epoch": login.epoch, "organization_id": organization_id}
    found = SQL.run(connection, "login", named).first()
    return None if found is None else Reach.of(organization_id, Role(found.role), found.channels)


def narrow(caller: Caller, reach: Reach) -> Caller:
    """Return the caller with what is within a person's reach alone."""
    return replace(caller, scopes=caller.scopes & reach.scopes, channels=reach.limit(caller.channels))


def combine_scopes(granted: frozenset[str], held: frozenset[str]) -> frozenset[str]:
    """Return the granted scopes; `manage_reports` stands for every scope that the key holds."""
    return granted | held if Scope.MANAGE_REPORTS in granted else granted


def find_readable_channels(connection: Connection, organization_id: int) -> frozenset[str]:
    """Find the ids of the channels that an organization may read."""
    channels = select(READABLE.c.channel_id).where(READABLE.c.organization_id == organization_id)
    return frozenset(connection.execute(channels).scalars())


def find_tenant(connection: Connection, reach: Reach) -> Tenant:
    """Find the tenant of a person: whose numbers the engine may read, and which."""
    return Tenant(reach.limit(find_readable_channels(connection, reach.organization_id)), reach.scopes)


def clean_text(given: str) -> str:
    """Replace a text that a database refuses: one with a NUL or half a surrogate pair."""
    return "" if "\0" in given else given.encode("utf-8", "replace").decode()


REPORT_SCOPES = tuple(scope.value for scope in Scope)
"""Every scope that a key may hold, in the order of every list of scopes."""
_SCOPES = " ".join(REPORT_SCOPES)
"""A token encodes its scopes as positions in this list. Every token becomes invalid when the list changes."""
_NONCE_BYTES = 8
_SEPARATOR = "\n"


@dataclass(frozen=True, slots=True)
class Login:
    """A user's login: valid while the user is still in this epoch."""

    user_id: str
    epoch: int


@dataclass(frozen=True, slots=True)
class TokenContent:
    """What a token says: its key, its scopes, and whose login it came by (public keys)."""

    key_id: str
    scopes: frozenset[str]
    login: Login | None = None


def make_token(service_secret: ServiceSecret, content: TokenContent, until: datetime) -> str:
    """Sign a token: expiry in ms (6 bytes), scopes as bits (2), nonce, key's id, login."""
    ends, bits = int(until.timestamp() * 1000), sum(1 << REPORT_SCOPES.index(scope) for scope in content.scopes)
    names = [content.key_id]
    if content.login is not None:
        names += [content.login.user_id, str(content.login.epoch)]
    payload = ends.to_bytes(6) + bits.to_bytes(2) + secrets.token_bytes(_NONCE_BYTES) + _SEPARATOR.join(names).encode()
    return credentials.sign(service_secret, credentials.ACCESS_TOKEN, payload, _SCOPES)


def read_token(service_secret: ServiceSecret, token: str, now: datetime) -> TokenContent | None:
    """Read a token; None when the signature is wrong or the token expired."""
    payload = credentials.read_signed(service_secret, credentials.ACCESS_TOKEN, token, _SCOPES)
    if payload is None or int.from_bytes(payload[:6]) <= now.timestamp() * 1000:
        return None
    bits = int.from_bytes(payload[6:8])
    scopes = frozenset(scope for number, scope in enumerate(REPORT_SCOPES) if bits >> number & 1)
    key_id, *names = payload[8 + _NONCE_BYTES :].decode().split(_SEPARATOR)
    return TokenContent(key_id, scopes, Login(names[0], int(names[1])) if names else None)
