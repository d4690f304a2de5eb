"""Layers of settings: each comes from the first that has it, and remembers its source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from reelport.client.settings import config
from reelport.client.settings.credentials import PrivateKey, PublicKey

SECRETS = {"secret": config.SECRET, "password": config.PASSWORD, "bearer": config.BEARER}
"""The secret parts of a key, and their environment variables."""

PARTS = {"private": ("secret",), "public": ("secret", "password"), "bearer": ("bearer",)}
"""The secret parts of each kind of key."""

VARIABLES = {
    "url": config.URL,
    "key": config.KEY,
    "username": config.USERNAME,
    "slots": config.SLOTS,
    "window_days": config.WINDOW_DAYS,
    **SECRETS,
}
"""The environment variable of each setting that has one."""

UNSET = "not set"
DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting in force and its source; `value` None when unset. `repr` hides it."""

    name: str
    value: str | None = field(repr=False)
    source: str

    @property
    def secret(self) -> bool:
        """Whether the value is a secret."""
        return self.name in SECRETS


@dataclass(frozen=True, slots=True)
class Layer:
    """Settings of one source; with `variables`, each one's source is its variable."""

    values: Mapping[str, str] = field(repr=False)
    source: str
    variables: bool = False

    def setting(self, name: str) -> Setting | None:
        """Return the setting of that name, if this layer has it."""
        if name not in self.values:
            return None
        return Setting(name, self.values[name], VARIABLES.get(name, self.source) if self.variables else self.source)


def read_arguments(given: Mapping[str, str | None]) -> Layer:
    """Build the layer of a call's or command's arguments; an empty text counts as not given."""
    return Layer({name: value.strip() for name, value in given.items() if value and value.strip()}, "argument")


def read_environment(variables: Mapping[str, str]) -> Layer:
    """Build the layer of environment variables; an empty text counts as not given."""
    texts = {name: variables.get(variable, "").strip() for name, variable in VARIABLES.items()}
    return Layer({name: text for name, text in texts.items() if text}, "environment", variables=True)


def find_first(layers: Sequence[Layer], name: str, default: str | None = None) -> Setting:
    """Return the setting of that name from the first layer that has it, else the default."""
    found = (layer.setting(name) for layer in layers)
    return next((each for each in found if each), Setting(name, default, UNSET if default is None else DEFAULT))


def find_kind(layers: Sequence[Layer]) -> Setting:
    """Find the kind of key in force: a profile's, or by the parts given otherwise."""
    told = {layer.values.get("key") for layer in layers if "kind" in layer.values}
    for layer in layers:
        given = layer.setting("kind")
        if given:
            return given
        for part, of in (("bearer", "bearer"), ("username", "public"), ("password", "public"), ("key", "private")):
            shown = layer.setting(part)
            # A bare key is private, unless a profile gives the kind of this key or of any key.
            if shown and not (part == "key" and told & {shown.value, None}):
                return Setting("kind", of, shown.source)
    return Setting("kind", "private", DEFAULT)


def find_address(layers: Sequence[Layer], of: str) -> Setting:
    """Find the service's address in force. Raises UsageError for an invalid one."""
    found = find_first(layers, "url", (PublicKey if of == "public" else PrivateKey).host)
    return Setting("url", config.normalize_url(found.value or ""), found.source)
