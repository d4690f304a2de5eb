"""Makes and reads access tokens, which are signed and not stored.

Whether the key of a token still has access is not known here.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime

from reelport.catalog import Scope
from reelport.server import credentials
from reelport.server.credentials import ServiceSecret

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
