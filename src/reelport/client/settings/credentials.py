"""As whom a client speaks: a private API key, a public one with its owner's login, or a token had elsewhere.

None of them prints its secrets. Each says where its tokens and its reports are had.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from reelport.errors import AccessError
from reelport.wire import GRAPHQL_PATH, PUBLIC_GRAPHQL_PATH, PUBLIC_TOKEN_PATH, TOKEN_PATH

PRIVATE_HOST = "https://partner.api.dailymotion.com"
"""Where Dailymotion's private API keys are good: spoken to when no other host is named."""

PUBLIC_HOST = "https://graphql.api.dailymotion.com"
"""Where Dailymotion's public API keys are good."""

_TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A private API key: its tokens are had for id and secret alone."""

    id: str = field(repr=False)
    secret: str = field(repr=False)

    kind = "private key"
    host = PRIVATE_HOST
    token_path = TOKEN_PATH
    graphql_path = GRAPHQL_PATH

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no text for people may hold."""
        return (self.id, self.secret)

    @property
    def name(self) -> str:
        """What tells this key from others, and holds no secret of it."""
        return self.id


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public API key with the login of the account that it reports on: tokens by password, then by refreshing."""

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
        """What no text for people may hold."""
        return (self.id, self.secret, self.username, self.password)

    @property
    def name(self) -> str:
        """What tells this key and account from others, and holds no secret of them."""
        return f"{self.id}\n{self.username}"


@dataclass(frozen=True, slots=True)
class Bearer:
    """A token that was had elsewhere. It can't be renewed: when it runs out, a fresh one has to be given.

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
        """What no text for people may hold."""
        return (self.token,)

    @property
    def name(self) -> str:
        """What tells this token from others, and doesn't tell the token."""
        return hashlib.sha256(self.token.encode()).hexdigest()


Credentials = PrivateKey | PublicKey | Bearer


def is_token(text: str) -> bool:
    """Whether a text can be sent as a bearer token."""
    return _TOKEN.fullmatch(text) is not None


def graphql_path(key: Credentials, url: str) -> str:
    """The path of a service's GraphQL. Dailymotion's public host has it at its root, whatever the token."""
    same = urlsplit(url).hostname == urlsplit(PUBLIC_HOST).hostname
    return PUBLIC_GRAPHQL_PATH if same else key.graphql_path
