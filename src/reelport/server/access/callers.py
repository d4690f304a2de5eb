"""Grants access tokens for API keys, and finds the caller that a token stands for."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache

from sqlalchemy import Connection, Engine, TextClause, select, text

from reelport.catalog import Limit, Scope
from reelport.server import credentials
from reelport.server.credentials import ServiceSecret
from reelport.server.state.database import load_statements, reading
from reelport.server.state.tables import READABLE

REPORT_SCOPES = tuple(scope.value for scope in Scope)
"""Every scope that a key may hold, in the order of every list of scopes."""
_SCOPES = " ".join(REPORT_SCOPES)
"""A token encodes its scopes as positions in this list. Every token becomes invalid when the list changes."""
_NONCE_BYTES = 8


class Refusal(StrEnum):
    """Why no token is granted: an error code of OAuth 2.0 (RFC 6749, section 5.2)."""

    INVALID_CLIENT = "invalid_client"
    INVALID_SCOPE = "invalid_scope"


@dataclass(frozen=True, slots=True)
class Grant:
    """A new access token, valid for `seconds`, with its scopes in the order of REPORT_SCOPES."""

    token: str
    scopes: tuple[str, ...]
    seconds: int

    def __repr__(self) -> str:
        return f"Grant({' '.join(self.scopes)})"


@dataclass(frozen=True, slots=True)
class Caller:
    """The key and organization behind a token.

    `scopes` already holds all that `manage_reports` stands for. `channels` are the ids of the channels that the key
    may read now.
    """

    key_id: str
    organization_id: int
    organization: str
    scopes: frozenset[str]
    channels: frozenset[str]


def grant_token(
    db: Engine,
    service_secret: ServiceSecret,
    client_id: str,
    client_secret: str,
    scopes: Iterable[str],
    now: datetime,
    *,
    seconds: int = Limit.TOKEN_SECONDS.default,
) -> Grant | Refusal:
    """Grant a token with the requested scopes that the key holds; with all when none is.

    Every key may have `manage_reports`: it stands for the scopes that the key holds, and adds none to them.
    Unknown scopes and those that the key lacks are left out; INVALID_SCOPE when that leaves none.
    """
    with reading(db) as connection:
        held = _find_key_scopes(connection, service_secret, client_id, client_secret)
    if held is None:
        return Refusal.INVALID_CLIENT
    asked = set(scopes)
    may_have = held | {Scope.MANAGE_REPORTS} if asked else held
    granted = tuple(scope for scope in REPORT_SCOPES if scope in may_have and (scope in asked or not asked))
    if not granted:
        return Refusal.INVALID_SCOPE
    until = now + timedelta(seconds=seconds)
    return Grant(_make_token(service_secret, client_id, granted, until), granted, seconds)


def _find_key_scopes(
    connection: Connection, service_secret: ServiceSecret, client_id: str, client_secret: str
) -> frozenset[str] | None:
    """Find a key's scopes; None when it is unknown or revoked, or the secret is wrong."""
    found = connection.execute(_get_statement(connection, "key"), {"key_id": _clean_text(client_id)}).first()
    # Compute the hash for an unknown key too: the time that a refusal takes must not reveal which ids exist.
    is_right = service_secret.matches("key", client_secret, found.secret_hash if found else None)
    if found is None or not is_right or found.revoked_at is not None:
        return None
    return frozenset(found.permissions.split())


def identify_caller(db: Engine, service_secret: ServiceSecret, token: str, now: datetime) -> Caller | None:
    """Find the caller that a token stands for.

    None when the token is invalid or expired, or its key is revoked.
    """
    content = _read_token(service_secret, token, now)
    if content is None:
        return None
    key_id, granted = content
    with reading(db) as connection:
        holder = find_holder(connection, key_id)
    return None if holder is None else replace(holder, scopes=_combine_scopes(granted, holder.scopes))


def find_holder(connection: Connection, key_id: str) -> Caller | None:
    """Find a key's caller, with every scope that the key holds; None when it is revoked."""
    found = connection.execute(_get_statement(connection, "holder"), {"key_id": key_id}).first()
    if found is None:
        return None
    # PostgreSQL aggregates no rows to NULL, not to an empty list.
    channels = frozenset(json.loads(found.channels or "[]"))
    return Caller(key_id, found.organization_id, found.organization, frozenset(found.permissions.split()), channels)


def is_still_allowed(connection: Connection, caller: Caller) -> bool:
    """Whether the caller's key is valid and still reads all of `caller.channels`."""
    holder = find_holder(connection, caller.key_id)
    return holder is not None and caller.channels <= holder.channels


def _make_token(service_secret: ServiceSecret, key_id: str, scopes: Iterable[str], until: datetime) -> str:
    """Sign a token: expiry in ms (6 bytes), scopes as bits (2), a nonce, and the key's id."""
    ends, bits = int(until.timestamp() * 1000), sum(1 << REPORT_SCOPES.index(scope) for scope in scopes)
    content = ends.to_bytes(6) + bits.to_bytes(2) + secrets.token_bytes(_NONCE_BYTES) + key_id.encode()
    return credentials.sign(service_secret, credentials.ACCESS_TOKEN, content, _SCOPES)


def _read_token(service_secret: ServiceSecret, token: str, now: datetime) -> tuple[str, frozenset[str]] | None:
    """Read the key's id and the granted scopes from a token.

    None when the signature is wrong or the token expired.
    """
    content = credentials.read_signed(service_secret, credentials.ACCESS_TOKEN, token, _SCOPES)
    if content is None or int.from_bytes(content[:6]) <= now.timestamp() * 1000:
        return None
    bits = int.from_bytes(content[6:8])
    scopes = frozenset(scope for number, scope in enumerate(REPORT_SCOPES) if bits >> number & 1)
    return content[8 + _NONCE_BYTES :].decode(), scopes


@cache
def _load_statements(dialect: str) -> dict[str, TextClause]:
    def adapt(statement: str) -> str:
        return statement if dialect == "sqlite" else statement.replace("json_group_array(", "json_agg(")

    return {name: text(adapt(statement)) for name, statement in load_statements("access/callers").items()}


def _get_statement(connection: Connection, name: str) -> TextClause:
    return _load_statements(connection.dialect.name)[name]


def _combine_scopes(granted: frozenset[str], held: frozenset[str]) -> frozenset[str]:
    return granted | held if Scope.MANAGE_REPORTS in granted else granted


def find_readable_channels(connection: Connection, organization_id: int) -> frozenset[str]:
    """Find the ids of the channels that an organization may read."""
    channels = select(READABLE.c.channel_id).where(READABLE.c.organization_id == organization_id)
    return frozenset(connection.execute(channels).scalars())


def _clean_text(given: str) -> str:
    """Replace a text that a database refuses: one with a NUL or half a surrogate pair."""
    return "" if "\0" in given else given.encode("utf-8", "replace").decode()
