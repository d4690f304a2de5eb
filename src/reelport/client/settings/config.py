"""A client's settings: a service's address, a key for it, limits. `profiles` finds them."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from urllib.parse import urlsplit

from reelport.catalog import Limit
from reelport.errors import AccessError, UsageError
from reelport.local_path import is_loopback, refuse_address
from reelport.similar_names import nearest
from reelport.wire import GRAPHQL_PATH, PUBLIC_GRAPHQL_PATH, PUBLIC_TOKEN_PATH, TOKEN_PATH

DAILYMOTION_URL = "https://partner.api.dailymotion.com"  # the default host, where its private API keys are valid
PUBLIC_HOST = "https://graphql.api.dailymotion.com"  # the host where Dailymotion's public API keys are valid
_TOKEN = re.compile(r"[\x21-\x7e]+")

URL = "REELPORT_URL"
KEY = "REELPORT_API_KEY"
SECRET = "REELPORT_API_SECRET"  # noqa: S105 - the name of a variable, no secret
USERNAME = "REELPORT_USERNAME"
PASSWORD = "REELPORT_PASSWORD"  # noqa: S105 - the name of a variable, no secret
BEARER = "REELPORT_BEARER"
SLOTS = "REELPORT_SLOTS"
WINDOW_DAYS = "REELPORT_WINDOW_DAYS"
INSECURE = "REELPORT_INSECURE"
HOME = "REELPORT_HOME"

DEADLINE = 2.5 * 3600  # longest wait in seconds: the two hours that the original service may need, and some room
# Reports that one range may take by default: a range beyond that is rather a mistyped year than a wish.
MAX_WINDOWS = 100

_VENDOR = "dailymotion.com"
_IDENTITY = 16
DIGITS = 9  # of a count at most
A_COUNT = f"a whole number of at least 1, {DIGITS} digits at most"

# A socket's timeout can't be longer than some weeks.
_A_TIME, _LONGEST = "a number of seconds above 0, a million at most", 1_000_000
_LONG = 200
_LONGEST_LABEL = 63  # bytes of a part between two dots of a DNS name (RFC 1035)
_OWN = ("localhost", "127.", "[::1]")  # how addresses of this machine begin; it rarely serves https


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A private API key: gets tokens for its id and secret alone (OAuth client credentials)."""

    id: str = field(repr=False)
    secret: str = field(repr=False)

    kind = "private key"
    host = DAILYMOTION_URL
    token_path = TOKEN_PATH
    graphql_path = GRAPHQL_PATH

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
    def name(self) -> str:
        """The key's id and the account's name, which aren't secret."""
        return f"{self.id}\n{self.username}"


@dataclass(frozen=True, slots=True)
class Bearer:
    """An access token from elsewhere, never renewed. AccessError for a text that is none."""

    token: str = field(repr=False)

    kind = "bearer"
    host = DAILYMOTION_URL
    token_path = None
    graphql_path = GRAPHQL_PATH

    def __post_init__(self) -> None:
        if not is_token(self.token):
            raise AccessError("The bearer token is invalid: it has blanks, or characters that are not ASCII.")

    @property
    def name(self) -> str:
        """A hash that identifies the token without revealing it."""
        return hashlib.sha256(self.token.encode()).hexdigest()


Credentials = PrivateKey | PublicKey | Bearer


def is_token(text: str) -> bool:
    """Whether a text can be a bearer token."""
    return _TOKEN.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Settings:
    """A service's address (no slash at its end), the key for it, and the limits there.

    `slots` is how many reports of one key may be in flight at a time, `windows` how many days one report may cover
    (None: 180), `max_windows` how many reports one range may take, `timeout` the seconds of silence after which a
    request is given up, `patience` the seconds for which transient failures are retried, and `pace` the seconds in
    which a download must bring 64 KiB, and any other answer its end. With `again`, an ask whose answer was lost is
    repeated; with `any_columns`, a report may have other columns than asked for. `insecure` allows sending the key in
    clear text.
    Raises UsageError for a number that isn't positive or is too large, and for a plain http address of another machine.
    """

    url: str
    key: Credentials
    slots: int = Limit.RUNNING_REPORTS.default
    windows: int | None = None
    timeout: float = 60.0
    patience: float = 20.0
    pace: float = 300.0
    again: bool = False
    any_columns: bool = False
    max_windows: int = MAX_WINDOWS
    insecure: bool = False

    def __post_init__(self) -> None:
        if not self.insecure:
            _refuse_clear_text(self.url)
        for name in ("slots", "windows", "max_windows"):
            if (count := getattr(self, name)) is not None or name != "windows":
                _refuse_beyond(name, count, int, 10**DIGITS - 1, A_COUNT)
        for name in ("timeout", "patience", "pace"):
            _refuse_beyond(name, getattr(self, name), int | float, _LONGEST, _A_TIME)

    @property
    def is_dailymotion(self) -> bool:
        """Whether the service is one of Dailymotion's own hosts."""
        host = urlsplit(self.url).hostname or ""
        return host == _VENDOR or host.endswith(f".{_VENDOR}")

    @property
    def identity(self) -> str:
        """A hash that identifies this key at this service, and reveals neither."""
        text = f"{self.url}\n{self.key.kind}\n{self.key.name}"
        return hashlib.sha256(text.encode()).hexdigest()[:_IDENTITY]

    @property
    def token_url(self) -> str | None:
        """The address of the token endpoint; None for a bearer token."""
        return None if self.key.token_path is None else self.url + self.key.token_path

    @property
    def graphql_url(self) -> str:
        """The address of the GraphQL endpoint: on Dailymotion's public host the root, for any key."""
        is_public = urlsplit(self.url).hostname == urlsplit(PUBLIC_HOST).hostname
        return self.url + (PUBLIC_GRAPHQL_PATH if is_public else self.key.graphql_path)


def _refuse_beyond(name: str, value: float, kinds: type | UnionType, most: int, kind: str) -> None:
    if isinstance(value, bool) or not isinstance(value, kinds) or not 0 < value <= most:
        raise UsageError(f"{name} must be {kind}, and not {str(value)[:80]!r}.")


def resolve_home(environment: Mapping[str, str]) -> Path:
    """Return the folder of the user's settings and ledger."""
    given = environment.get(HOME, "").strip()
    refuse_address(given, f"Set {HOME} to a folder.")
    return expand_path(given or "~/.reelport")


def expand_path(path: str | os.PathLike[str]) -> Path:
    """Expand `~`. UsageError for an address, and without such a user or a home folder."""
    refuse_address(path, "Name a file or a folder.")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        name = str(path)[1:].partition(os.sep)[0]
        if name:
            raise UsageError(f"{str(path)[:200]!r} can't be found: no user {name[:80]!r} has a home folder.") from error
        raise UsageError(f"{str(path)[:200]!r} can't be found, for that user has no home folder: set {HOME} to a "
                         "folder for settings and memory, or HOME.") from error  # fmt: skip


def normalize_url(url: str) -> str:
    """Normalize an address: lower-case host, no slash at the end. Raises UsageError."""
    if not _is_valid_url(url.strip()):
        raise UsageError(f"{url[:200]!r} is no address of a service ({URL}): {_advise_on_url(url.strip())}")
    parts = urlsplit(url.strip())
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UsageError(f"The address of a service ({URL}) is a host and perhaps a path: no user, no ? and no #.")
    host = parts.netloc.lower().removesuffix(":443" if parts.scheme == "https" else ":80")
    return f"{parts.scheme}://{host}{parts.path.rstrip('/')}"


def _refuse_clear_text(url: str) -> None:
    """Raise UsageError for plain http elsewhere: anybody on the way can read the key."""
    parts = urlsplit(url)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise UsageError(
            f"{url} would get the key in clear text: anybody on the way could read it. Use https, or in a network "
            f"that you trust --insecure ({INSECURE}=1, Client(insecure=True))."
        )


def _is_valid_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        named = parts.scheme in {"http", "https"} and parts.port != 0
    except ValueError:
        return False
    labels = (parts.hostname or "").removesuffix(".").split(".")  # a resolver raises for `a..b`
    return named and all(0 < len(each) <= _LONGEST_LABEL for each in labels) and url.isprintable() and " " not in url


def _advise_on_url(url: str) -> str:
    """Advise on an invalid address: the same with a scheme, if that is all, else an example."""
    word, colon, rest = url.partition(":/")
    scheme = nearest(word, ("http", "https")) if colon else "http" if url.startswith(_OWN) else "https"
    whole = f"{scheme}://{rest.lstrip('/') if colon else url}"
    lacks = scheme is not None and _is_valid_url(whole) and len(whole) < _LONG
    return f"did you mean {whole}?" if lacks else f"give one like {DAILYMOTION_URL}."
