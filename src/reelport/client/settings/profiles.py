"""Find the settings in force: arguments, environment, project's, user's profile, defaults.

A profile named in the call takes precedence over the environment. Each setting comes from the first layer that has it,
and remembers its source.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from reelport.catalog import Limit
from reelport.check import nearest
from reelport.client.settings import config
from reelport.client.settings.config import (
    HOME,
    INSECURE,
    Faults,
    PrivateKey,
    PublicKey,
    Settings,
    normalize_url,
    read_count,
    read_switch,
    resolve_home,
)
from reelport.client.settings.profile_file import NUMBERS, ProfileFile, read_profiles
from reelport.client.settings.secrets import Name, look_up
from reelport.errors import AccessError, ReelportError, StorageError, UsageError

PROFILE = "REELPORT_PROFILE"
DEFAULT_PROFILE = "default"
USER_FILE = "config.toml"
PROJECT_FILE = "reelport.toml"

# The secret parts of a key, and their environment variables.
SECRETS = {"secret": config.SECRET, "password": config.PASSWORD, "bearer": config.BEARER}

# The secret parts of each kind of key.
PARTS = {"private": ("secret",), "public": ("secret", "password"), "bearer": ("bearer",)}

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

_UNSET = "not set"
_DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class InForce:
    """Every setting in force, the files' paths, and what kept a secret from us (`trouble`)."""

    settings: Mapping[str, Setting]
    home: Path
    project: Path
    trouble: ReelportError | None = None
    insecure: bool = False

    def __getitem__(self, name: str) -> str:
        """Return the value of a setting; an empty text when unset."""
        return self.settings[name].value or ""

    @property
    def needed(self) -> tuple[str, ...]:
        """The parts that a key of this kind needs."""
        kind = self["kind"]
        ids = {"private": ("key",), "public": ("key", "username"), "bearer": ()}[kind]
        return (*ids, *PARTS[kind])

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


def build_settings(found: InForce) -> Settings:
    """Build a client's settings from those in force."""
    if found.missing and found.trouble is not None:
        raise found.trouble
    if found.missing:
        raise AccessError(f"No API key for {found['url']}: set {' and '.join(found.missing)}, "
                          "or keep a key with `reelport auth login`.")  # fmt: skip
    counts = {VARIABLES[name]: found[name] for name in NUMBERS if found.settings[name].source != _DEFAULT}
    return Settings.read(counts, found["url"], **{part: found[part] for part in found.needed}, insecure=found.insecure)


def find_in_force(
    environment: Mapping[str, str],
    *,
    profile: str | None = None,
    folder: Path | None = None,
    insecure: bool = False,
    **given: str | None,
) -> InForce:
    """Find every setting in force. An unreadable secret is no error: `trouble` says why."""
    home, project = resolve_home(environment), find_project_file(folder)
    faults = Faults()
    user = home / USER_FILE
    files = (
        faults.attempt(lambda: read_profiles(project, alone=False), ProfileFile(project)),
        faults.attempt(lambda: read_profiles(user, alone=True), ProfileFile(user)),
    )
    chosen = Setting("profile", None, _UNSET)
    if not faults.errors:
        chosen = faults.attempt(lambda: _choose_profile(environment, profile, files), chosen)
    # An empty text counts as not given.
    arguments = _Layer({name: text.strip() for name, text in given.items() if text and text.strip()}, "argument")
    texts = {name: environment.get(variable, "").strip() for name, variable in VARIABLES.items()}
    outside = _Layer({name: text for name, text in texts.items() if text}, "environment", variables=True)
    name = chosen.value or ""
    tables = [_Layer(file.profiles[name], f"{file.path} [profiles.{name}]") for file in files if name in file.profiles]
    order = [arguments, *tables, outside] if profile else [arguments, outside, *tables]
    kind = _find_kind(order)
    url = faults.attempt(lambda: _find_address(order, kind.value or ""), Setting("url", None, _UNSET))
    clear = faults.attempt(lambda: insecure or read_switch(environment, INSECURE), instead=False)
    if faults.errors:
        for number in NUMBERS:
            given_number = {VARIABLES[number]: _find_first(order, number).value or ""}
            faults.attempt(partial(read_count, given_number, VARIABLES[number]), None)
    faults.refuse()
    open_ = [
        chosen,
        url,
        kind,
        _find_first(order, "key"),
        _find_first(order, "username"),
        _find_first(order, "slots", str(Limit.RUNNING_REPORTS.default)),
        _find_first(order, "window_days", str(Limit.RANGE_DAYS.default)),
    ]
    settings = {setting.name: setting for setting in open_}
    ours = [place for place in (arguments, outside) if _is_for_key(place, settings)]
    places = [place for place in ours if _is_for_address(place, order, settings["url"])]
    secrets, trouble = _find_secrets(settings, places, home)
    found = InForce(settings | secrets, home, project, trouble, clear)
    withheld = _explain_withheld(found, [place for place in ours if place not in places])
    return found if trouble else replace(found, trouble=withheld)


def list_profile_names(environment: Mapping[str, str], folder: Path | None = None) -> tuple[str, ...]:
    """Return the names of all profiles, sorted. Raises UsageError for faults in a file."""
    files = (
        read_profiles(find_project_file(folder), alone=False),
        read_profiles(resolve_home(environment) / USER_FILE, alone=True),
    )
    return tuple(sorted({name for file in files for name in file.profiles}))


def find_project_file(folder: Path | None = None) -> Path:
    """Return a folder's project file, by default the current one's. Searches no parents."""
    return (folder or Path()) / PROJECT_FILE


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
    """Build the error for a secret withheld from the address; None where there is none."""
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

    @property
    def secret(self) -> bool:
        """Whether the value is a secret."""
        return self.name in SECRETS


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
    return Setting("kind", "private", _DEFAULT)


def _find_address(layers: Sequence[_Layer], of: str) -> Setting:
    found = _find_first(layers, "url", (PublicKey if of == "public" else PrivateKey).host)
    return Setting("url", config.normalize_url(found.value or ""), found.source)
