"""Where the client speaks to and as whom: arguments first, then the environment, then the default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

from reelport.check import Rules
from reelport.errors import AccessError, UsageError
from reelport.wire import GRAPHQL_PATH, TOKEN_PATH

DAILYMOTION_URL = "https://partner.api.dailymotion.com"
"""The host of Dailymotion's private API keys: spoken to when no other is named."""

URL = "REELPORT_URL"
KEY = "REELPORT_API_KEY"
SECRET = "REELPORT_API_SECRET"  # noqa: S105 - the name of a variable, no secret

_VENDOR = "dailymotion.com"


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A private API key; it prints neither of its halves."""

    id: str = field(repr=False)
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Settings:
    """A service's address, without a slash at its end, and the key to speak to it with."""

    url: str
    key: PrivateKey

    @classmethod
    def read(cls, environment: Mapping[str, str], url: str | None, key: str | None, secret: str | None) -> Self:
        """The settings from arguments, else from the environment. An empty text counts as none.

        Raises UsageError for an address that is none, AccessError without a key.
        """
        address = checked_url(url or environment.get(URL) or DAILYMOTION_URL)
        given = {KEY: key or environment.get(KEY), SECRET: secret or environment.get(SECRET)}
        missing = [name for name, value in given.items() if not value]
        if missing:
            raise AccessError(f"No API key for {address}: set {' and '.join(missing)}.")
        return cls(address, PrivateKey((given[KEY] or "").strip(), (given[SECRET] or "").strip()))

    @property
    def reelport(self) -> bool:
        """Whether a Reelport service is spoken to, as every host is taken to be that isn't Dailymotion's."""
        host = urlsplit(self.url).hostname or ""
        return host != _VENDOR and not host.endswith(f".{_VENDOR}")

    @property
    def rules(self) -> Rules:
        """What a query is held to before it is sent: another vendor may know names that we don't."""
        return Rules(strict=self.reelport)

    @property
    def token_url(self) -> str:
        """Where tokens are had."""
        return self.url + TOKEN_PATH

    @property
    def graphql_url(self) -> str:
        """Where reports are asked for."""
        return self.url + GRAPHQL_PATH


def checked_url(url: str) -> str:
    """The address of a service without a slash at its end; UsageError when it can't be one."""
    try:
        parts = urlsplit(url.strip())
        whole = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        whole = False
    if not whole:
        raise UsageError(f"{url[:200]!r} is no address of a service: give one like {DAILYMOTION_URL} ({URL}).")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UsageError(f"The address of a service ({URL}) is a host and perhaps a path: no user, no ? and no #.")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
