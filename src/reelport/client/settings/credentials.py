"""Credentials: a private API key, a public key with its owner's login, or a bearer token.

Their `repr` leaves out secrets. Each knows the paths of its token endpoint and of GraphQL.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from reelport.errors import AccessError
from reelport.wire import GRAPHQL_PATH, PUBLIC_GRAPHQL_PATH, PUBLIC_TOKEN_PATH, TOKEN_PATH

PRIVATE_HOST = "https://partner.api.dailymotion.com"
"""The host where Dailymotion's private API keys are valid; the default host."""

PUBLIC_HOST = "https://graphql.api.dailymotion.com"
"""The host where Dailymotion's public API keys are valid."""

_TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A private API key: gets tokens for its id and secret alone (OAuth client credentials)."""

    id: str = field(repr=False)
    secret: str = field(repr=False)

    kind = "private key"
    host = PRIVATE_HOST
    token_path = TOKEN_PATH
    graphql_path = GRAPHQL_PATH

    @property
    def secrets(self) -> tuple[str, ...]:
        """Texts that must never be printed."""
        return (self.id, self.secret)

    @property
    def name(self) -> str:
        """The key's id, which isn't secret."""
        return self.id


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public API key and its account's login: gets tokens by password, then by refresh token."""

    id: str = field(repr=False)
    secret: str = field(repr=False)
    username: str = field(repr=False)
    password: str = field(repr=False)

    kind = "public key"
    host = PUBLIC_HOST
    token_path = PUBLIC_TOKEN_PATH
    graphql_path = PUBLIC_GRAPHQL_PATH

    @property
    def secrets(self) -> tuple[str, ...]:
        """Texts that must never be printed."""
        return (self.id, self.secret, self.username, self.password)

    @property
    def name(self) -> str:
        """The key's id and the account's name, which aren't secret."""
        return f"{self.id}\n{self.username}"


@dataclass(frozen=True, slots=True)
class Bearer:
    """An access token from elsewhere, which can't be renewed: the user must give a fresh one.

    Raises AccessError for a text that can't be a token.
    """

    token: str = field(repr=False)

    kind = "bearer"
    host = PRIVATE_HOST
    token_path = None
    graphql_path = GRAPHQL_PATH

    def __post_init__(self) -> None:
        if not is_token(self.token):
            raise AccessError("What was given as a bearer token is none: it holds blanks or letters beyond ASCII.")

    @property
    def secrets(self) -> tuple[str, ...]:
        """Texts that must never be printed."""
        return (self.token,)

    @property
    def name(self) -> str:
        """A hash that identifies the token without revealing it."""
        return hashlib.sha256(self.token.encode()).hexdigest()


Credentials = PrivateKey | PublicKey | Bearer


def is_token(text: str) -> bool:
    """Whether a text can be a bearer token."""
    return _TOKEN.fullmatch(text) is not None


def graphql_path(key: Credentials, url: str) -> str:
    """Return the path of GraphQL; on Dailymotion's public host it is the root, for every token."""
    same = urlsplit(url).hostname == urlsplit(PUBLIC_HOST).hostname
    return PUBLIC_GRAPHQL_PATH if same else key.graphql_path
