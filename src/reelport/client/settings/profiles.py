"""Find the settings in force: arguments, environment, project's, user's profile, defaults.

A profile named in the call takes precedence over the environment. Each setting comes from the first layer that has it,
and remembers its source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from reelport.catalog import Limit
from reelport.client.settings import config
from reelport.client.settings.config import (
    A_COUNT,
    DIGITS,
    HOME,
    INSECURE,
    Bearer,
    Credentials,
    PrivateKey,
    PublicKey,
    Settings,
    normalize_url,
    resolve_home,
)
from reelport.client.settings.profile_file import NUMBERS, ProfileFile, read_profiles
from reelport.client.settings.secrets import Name, look_up
from reelport.errors import AccessError, ReelportError, StorageError, UsageError
from reelport.similar_names import nearest

PROFILE = "REELPORT_PROFILE"
DEFAULT_PROFILE = "default"
USER_FILE = "config.toml"
PROJECT_FILE = "reelport.toml"

# The secret parts of a key, and their environment variables.
SECRETS = {"secret": config.SECRET, "password": config.PASSWORD, "bearer": config.BEARER}

# The parts of each kind of key, and those of them that are secret.
KEY_PARTS = {"private": ("key", "secret"), "public": ("key", "secret", "username", "password"), "bearer": ("bearer",)}
PARTS = {kind: tuple(part for part in parts if part in SECRETS) for kind, parts in KEY_PARTS.items()}

# The environment variable of each setting that has one.
VARIABLES = {
    "url": config.URL,
    "key": config.KEY,
    "username": config.USERNAME,
    "slots": config.SLOTS,
    "window_days": config.WINDOW_DAYS,
    **SECRETS,
}

# Every environment variable that a client reads.
CLIENT_VARIABLES = frozenset({*VARIABLES.values(), PROFILE, HOME, INSECURE})

T = TypeVar("T")
_UNSET = "not set"
_DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class InForce:
    """Every setting in force, and what kept a secret from us (`trouble`)."""

    settings: Mapping[str, Setting]
    trouble: ReelportError | None = None
    insecure: bool = False

    def __getitem__(self, name: str) -> str:
        """Return the value of a setting; an empty text when unset."""
        return self.settings[name].value or ""

    @property
    def needed(self) -> tuple[str, ...]:
        """The parts that a key of this kind needs."""
        return KEY_PARTS[self["kind"]]

    @property
    def missing(self) -> tuple[str, ...]:
        """The environment variables of the needed parts that weren't found."""
        return tuple(VARIABLES[part] for part in self.needed if not self[part])


def resolve(
    environment: Mapping[str, str],
    *,
    profile: str | None = None,
    folder: Path | None = None,
    insecure: bool = False,
    **given: str | None,
) -> Settings:
    """Return a client's settings; `given` are url, key, secret, username, password and bearer.

    Raises UsageError for faults in a file or a setting, AccessError for an incomplete key.
    """
    return build_settings(find_in_force(environment, profile=profile, folder=folder, insecure=insecure, **given))


def resolve_without_files(environment: Mapping[str, str], *, insecure: bool = False, **given: str | None) -> Settings:
    """Return a client's settings by arguments and environment alone; raises as `resolve` does.

    A key given whole as arguments is used unchanged, whatever the environment holds. Else the parts of a key may come
    from both.
    """
    arguments, outside = _read_layers(environment, given)
    own = arguments.values.keys() & {"key", *SECRETS, "username"}
    unread = {"key", "username", *SECRETS} if "bearer" in own or own == {"key", "secret"} else {"bearer"} if own else ()
    kept = {name: text for name, text in outside.values.items() if name not in unread}
    both = [_Layer(kept | dict(arguments.values), "argument or environment")]
    faults = _Faults()
    settings, clear = _find_open_settings(environment, both, faults, insecure=insecure)
    faults.refuse()
    return build_settings(InForce(settings | {part: _find_first(both, part) for part in SECRETS}, insecure=clear), "")


def build_settings(found: InForce, otherwise: str = ", or keep a key with `reelport auth login`") -> Settings:
    """Build a client's settings from those in force; `otherwise` is advice on a missing key."""
    faults = _Faults()
    if found.missing:
        lacking = f"No API key for {found['url']}: set {' and '.join(found.missing)}{otherwise}."
        faults.errors.append(found.trouble or AccessError(lacking))
    counts = {
        name: faults.attempt(partial(_parse_count, VARIABLES[name], found[name]), None)
        for name in NUMBERS
        if found.settings[name].source != _DEFAULT
    }
    faults.refuse()
    key: Credentials
    match found["kind"]:
        case "bearer":
            key = Bearer(found["bearer"])
        case "public":
            key = PublicKey(found["key"], found["secret"], found["username"], found["password"])
        case _:
            key = PrivateKey(found["key"], found["secret"])
    slots = counts.get("slots") or Limit.RUNNING_REPORTS.default
    return Settings(found["url"], key, slots=slots, windows=counts.get("window_days"), insecure=found.insecure)


def find_in_force(
    environment: Mapping[str, str],
    *,
    profile: str | None = None,
    folder: Path | None = None,
    insecure: bool = False,
    **given: str | None,
) -> InForce:
    """Find every setting in force. An unreadable secret is no error: `trouble` says why."""
    home, project = resolve_home(environment), (folder or Path()) / PROJECT_FILE
    faults = _Faults()
    user = home / USER_FILE
    files = (
        faults.attempt(lambda: read_profiles(project, alone=False), ProfileFile(project)),
        faults.attempt(lambda: read_profiles(user, alone=True), ProfileFile(user)),
    )
    chosen = Setting("profile", None, _UNSET)
    if not faults.errors:
        chosen = faults.attempt(lambda: _choose_profile(environment, profile, files), chosen)
    arguments, outside = _read_layers(environment, given)
    name = chosen.value or ""
    tables = [_Layer(file.profiles[name], f"{file.path} [profiles.{name}]") for file in files if name in file.profiles]
    order = [arguments, *tables, outside] if profile else [arguments, outside, *tables]
    settings, clear = _find_open_settings(environment, order, faults, insecure=insecure)
    faults.refuse()
    settings = {"profile": chosen, **settings}
    ours = [place for place in (arguments, outside) if _is_for_key(place, settings)]
    places = [place for place in ours if _is_for_address(place, order, settings["url"])]
    secrets, trouble = _find_secrets(settings, places, home)
    found = InForce(settings | secrets, trouble, clear)
    withheld = _explain_withheld(found, [place for place in ours if place not in places])
    return found if trouble else replace(found, trouble=withheld)


def _read_layers(environment: Mapping[str, str], given: Mapping[str, str | None]) -> tuple[_Layer, _Layer]:
    """Read arguments and environment. An empty text counts as not given."""
    arguments = {name: _read_text(VARIABLES[name], text) for name, text in given.items()}
    outside = {name: _read_text(variable, environment.get(variable)) for name, variable in VARIABLES.items()}
    return (
        _Layer({name: text for name, text in arguments.items() if text}, "argument"),
        _Layer({name: text for name, text in outside.items() if text}, "environment", variables=True),
    )


def _find_open_settings(
    environment: Mapping[str, str], order: Sequence[_Layer], faults: _Faults, *, insecure: bool
) -> tuple[dict[str, Setting], bool]:
    """Find what is no secret, in the first layer that has it; and if clear text is allowed."""
    kind = _find_kind(order)
    url = faults.attempt(lambda: _find_address(order, kind.value or ""), Setting("url", None, _UNSET))
    clear = faults.attempt(lambda: insecure or _read_switch(environment, INSECURE), instead=False)
    if faults.errors:
        for number in NUMBERS:
            faults.attempt(partial(_parse_count, VARIABLES[number], _find_first(order, number).value or ""), None)
    found = (
        url,
        kind,
        _find_first(order, "key"),
        _find_first(order, "username"),
        _find_first(order, "slots", str(Limit.RUNNING_REPORTS.default)),
        _find_first(order, "window_days", str(Limit.RANGE_DAYS.default)),
    )
    return {setting.name: setting for setting in found}, clear


def list_secret_names(settings: Mapping[str, Setting]) -> dict[str, Name]:
    """Return the names that a key's secrets are stored under; none without its id."""
    url, kind, key, username = (settings[name].value or "" for name in ("url", "kind", "key", "username"))
    if kind != "bearer" and not key:
        return {}
    holder = "bearer" if kind == "bearer" else f"{kind} key {key}"
    return {part: Name(url, f"{holder}, {username}" if part == "password" else holder, part) for part in PARTS[kind]}


def _choose_profile(environment: Mapping[str, str], profile: str | None, files: Iterable[ProfileFile]) -> Setting:
    wished = [
        Setting("profile", profile, "argument"),
        Setting("profile", environment.get(PROFILE, "").strip(), PROFILE),
        *(Setting("profile", file.preferred, str(file.path)) for file in files),
    ]
    known = {name for file in files for name in file.profiles}
    wish = next((each for each in wished if each.value), None)
    if wish is None:
        there = DEFAULT_PROFILE in known
        return Setting("profile", DEFAULT_PROFILE if there else None, "default" if there else _UNSET)
    if wish.value not in known:
        near = nearest(wish.value or "", known)
        advice = f"Did you mean {near}?" if near else f"There is {', '.join(sorted(known)) or 'none at all'}."
        places = " or ".join(str(file.path) for file in files)
        raise UsageError(f"There is no profile {wish.value!r} in {places} (named by: {wish.source}). {advice}")
    return wish


def _is_for_key(place: _Layer, settings: Mapping[str, Setting]) -> bool:
    """Whether a layer's secrets belong to the key in force: the layer names that key, or none."""
    return all(place.values.get(part) in {None, settings[part].value} for part in ("key", "username"))


def _is_for_address(place: _Layer, order: Sequence[_Layer], url: Setting) -> bool:
    """Whether a layer's secrets may be sent to the address in force.

    They belong to the address that the call or the same layer gives; where neither gives one, to the environment's or
    the platform's own. An address that only a file gives could be anybody's.
    """
    given = [layer for layer in order if "url" in layer.values and (layer is place or layer is order[0])]
    if given:
        return normalize_url(given[0].values["url"]) == url.value
    return url.source in {VARIABLES["url"], _DEFAULT}


def _explain_withheld(found: InForce, places: Sequence[_Layer]) -> AccessError | None:
    url = found.settings["url"]
    parts = [part for part in PARTS[found["kind"]] if not found[part]]
    held = [f"the {part} of the {place.source}" for part in parts for place in places if part in place.values]
    if not held:
        return None
    return AccessError(
        f"{url.value} doesn't get {' and '.join(held)}: a secret goes only to the address that it was given with, and "
        f"this address is from {url.source}. If you trust it, set {VARIABLES['url']}={url.value} too, or keep a "
        "key for it with `reelport auth login`."
    )


def _find_secrets(
    settings: Mapping[str, Setting], places: Sequence[_Layer], home: Path
) -> tuple[dict[str, Setting], ReelportError | None]:
    found = {part: _find_first(places, part) for part in SECRETS}
    for part, name in list_secret_names(settings).items():
        if found[part].value:
            continue
        try:
            kept = look_up(name, home)
        except (AccessError, StorageError, UsageError) as error:
            return found, error
        if kept is not None:
            found[part] = Setting(part, kept.secret, kept.place)
    return found, None


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting in force and its source; `value` None when unset. `repr` hides it."""

    name: str
    value: str | None = field(repr=False)
    source: str


@dataclass(frozen=True, slots=True)
class _Layer:
    """Settings of one source; with `variables`, each one's source is its variable."""

    values: Mapping[str, str] = field(repr=False)
    source: str
    variables: bool = False

    def setting(self, name: str) -> Setting | None:
        if name not in self.values:
            return None
        return Setting(name, self.values[name], VARIABLES.get(name, self.source) if self.variables else self.source)


def _find_first(layers: Sequence[_Layer], name: str, default: str | None = None) -> Setting:
    found = (layer.setting(name) for layer in layers)
    return next((each for each in found if each), Setting(name, default, _UNSET if default is None else _DEFAULT))


def _find_kind(layers: Sequence[_Layer]) -> Setting:
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
    return Setting("kind", "private", _DEFAULT)


def _find_address(layers: Sequence[_Layer], of: str) -> Setting:
    found = _find_first(layers, "url", (PublicKey if of == "public" else PrivateKey).host)
    return Setting("url", config.normalize_url(found.value or ""), found.source)


def _read_text(name: str, value: object) -> str:
    if value is None:
        return ""
    try:
        whole = isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        whole = False
    if not whole:
        raise UsageError(f"What is given as {name} must be a text of whole letters.")
    return str(value).strip()


def _read_switch(environment: Mapping[str, str], name: str) -> bool:
    text = environment.get(name, "").strip()
    if text not in {"", "0", "1"}:
        raise UsageError(f"{name} must be 1 or 0, and not {text[:80]!r}.")
    return text == "1"


def _parse_count(name: str, text: str) -> int | None:
    if text and not (text.isascii() and text.isdecimal() and len(text) <= DIGITS and int(text) > 0):
        raise UsageError(f"{name} must be {A_COUNT}, and not {text[:80]!r}.")
    return int(text) if text else None


@dataclass(slots=True)
class _Faults:
    errors: list[ReelportError] = field(default_factory=list)

    def attempt(self, read: Callable[[], T], instead: T) -> T:
        """Read a setting; on an error, note the error and return `instead`."""
        try:
            return read()
        except (UsageError, AccessError) as error:
            self.errors.append(error)
            return instead

    def refuse(self) -> None:
        """Raise the noted errors: one unchanged, several as a UsageError with a line each."""
        if len(self.errors) == 1:
            raise self.errors[0]
        if self.errors:
            raise UsageError("\n".join(map(str, self.errors)))
