"""Settings laid over one another: each from the first place that has it, and known by that place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from reelport.client.settings import config
from reelport.client.settings.credentials import PrivateKey, PublicKey

SECRETS = {"secret": config.SECRET, "password": config.PASSWORD, "bearer": config.BEARER}
"""The parts of a key that are secret, and the variables that hold them."""

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
"""The variable of the environment for each setting that has one."""

UNSET = "not set"
DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting in force and where it comes from; `value` is None when it has none. It prints no value."""

    name: str
    value: str | None = field(repr=False)
    source: str

    @property
    def secret(self) -> bool:
        """Whether its value is for nobody's eyes."""
        return self.name in SECRETS


@dataclass(frozen=True, slots=True)
class Layer:
    """Settings from one place. `variables`: each comes from the variable of its name."""

    values: Mapping[str, str] = field(repr=False)
    source: str
    variables: bool = False

    def setting(self, name: str) -> Setting | None:
        """The setting of that name, if this place has it."""
        if name not in self.values:
            return None
        return Setting(name, self.values[name], VARIABLES.get(name, self.source) if self.variables else self.source)


def arguments(given: Mapping[str, str | None]) -> Layer:
    """The settings that were given in a call or a command; an empty text counts as none."""
    return Layer({name: value.strip() for name, value in given.items() if value and value.strip()}, "argument")


def environment(variables: Mapping[str, str]) -> Layer:
    """The settings of the environment; an empty text counts as none."""
    texts = {name: variables.get(variable, "").strip() for name, variable in VARIABLES.items()}
    return Layer({name: text for name, text in texts.items() if text}, "environment", variables=True)


def first(layers: Sequence[Layer], name: str, default: str | None = None) -> Setting:
    """The setting of that name from the first layer that has it."""
    found = (layer.setting(name) for layer in layers)
    return next((each for each in found if each), Setting(name, default, UNSET if default is None else DEFAULT))


def kind(layers: Sequence[Layer]) -> Setting:
    """What kind of key is in force: as a profile says, or as the parts show that an argument or a variable gives."""
    told = {layer.values.get("key") for layer in layers if "kind" in layer.values}
    for layer in layers:
        given = layer.setting("kind")
        if given:
            return given
        for part, of in (("bearer", "bearer"), ("username", "public"), ("password", "public"), ("key", "private")):
            shown = layer.setting(part)
            # A bare key is a private one, unless a profile says of it, or of whatever key there is, what kind it is.
            if shown and not (part == "key" and told & {shown.value, None}):
                return Setting("kind", of, shown.source)
    return Setting("kind", "private", DEFAULT)


def address(layers: Sequence[Layer], of: str) -> Setting:
    """The service to speak to. Raises UsageError for an address that is none."""
    found = first(layers, "url", (PublicKey if of == "public" else PrivateKey).host)
    return Setting("url", config.checked_url(found.value or ""), found.source)
