"""`reelport auth`: keep, show and forget keys. Shows no secret."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from cyclopts import App, Parameter

from reelport.cli.arguments.options import Insecure, Profile, Url, has_terminal
from reelport.cli.arguments.usage_errors import find_error
from reelport.cli.client_commands.check import try_key
from reelport.cli.output.listing import PrintJson, print_json, print_list
from reelport.client.settings import profile_file, secrets
from reelport.client.settings.config import HOME, INSECURE, PrivateKey, PublicKey, normalize_url, resolve_home
from reelport.client.settings.profiles import (
    DEFAULT_PROFILE,
    PARTS,
    PROFILE,
    SECRETS,
    USER_FILE,
    VARIABLES,
    InForce,
    Setting,
    find_in_force,
    list_secret_names,
    resolve_without_files,
)
from reelport.errors import AccessError, ServiceError, UsageError
from reelport.wording import advise_extra, format_list

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend


AUTH = App(name="auth", help_format="plaintext")

_LONGEST = 4096  # characters of a secret, or another part of a key


class Kind(StrEnum):
    """Kinds of key."""

    PRIVATE = "private"
    PUBLIC = "public"
    BEARER = "bearer"


class Store(StrEnum):
    """Places where a secret can be kept."""

    KEYRING = "keyring"
    FILE = "file"


@AUTH.command
def login(
    *,
    key: Annotated[str | None, Parameter(help="The key's id; without it, the terminal asks.")] = None,
    url: Url = None,
    profile: Annotated[str | None, Parameter(help="The name of the profile; otherwise `default`.")] = None,
    kind: Annotated[Kind | None, Parameter(help="A private or a public API key, or a bearer token.")] = None,
    username: Annotated[str | None, Parameter(help="The account of a public key.")] = None,
    store: Annotated[
        Store, Parameter(help="The system's keyring, or a file in clear text that only you can read.")
    ] = Store.KEYRING,
    insecure: Insecure = False,
    offline: Annotated[bool, Parameter(help="Save the key without trying it.")] = False,
) -> None:
    """Save a key. Asks for the secret without showing it, or reads it from stdin.

    Example: echo "$SECRET" | reelport auth login --key "$KEY" --store file

    The secret goes to the keyring, or with --store file to a file;
    address and id go to config.toml. A public key has a secret and a
    password: on stdin they are two lines.
    """
    home = resolve_home(os.environ)
    name = profile_file.check_name(profile or os.environ.get(PROFILE, "").strip() or DEFAULT_PROFILE)
    known = profile_file.read_profiles(home / USER_FILE, alone=True).profiles.get(name, {})
    given = _read_open_parts(known, {"url": url, "kind": kind and str(kind), "key": key, "username": username})
    ring = _choose_keyring(store)
    parts = {part: _read_secret(part) for part in PARTS[given["kind"]]}
    if not offline:
        _try_key(given, parts, insecure=insecure)
    profile_file.write_profile(home / USER_FILE, name, {**known, **given})
    names = list_secret_names({part: Setting(part, given.get(part), "") for part in ("url", "kind", "key", "username")})
    for part, entry in names.items():
        keep = partial(secrets.store_in_keyring, ring) if ring else partial(secrets.store_in_file, home)
        _say(f"{entry.entry} at {entry.url}: kept in {keep(entry, parts[part])}")
    _say(f"profile {name}: {home / USER_FILE}{'' if name == DEFAULT_PROFILE else f'; use it with --profile {name}'}")
    for part in ("url", "key", "username"):
        if known.get(part, given.get(part)) != given.get(part):
            _say(f"note: the {part} of this profile was {known[part]} before")
    for part in (*names, "key", "url"):
        if os.environ.get(VARIABLES[part], "").strip() not in {"", given.get(part, parts.get(part))}:
            _say(f"note: {VARIABLES[part]} is set to something else, and goes first")


@AUTH.command
def status(*, url: Url = None, profile: Profile = None, json: PrintJson = False) -> None:
    """Show the key and the settings in force, and where each comes from. Sends no request.

    Example: reelport auth status

    The exit status is 4 if a part of the key is missing. `reelport check` tries the key.
    """
    found = find_in_force(os.environ, profile=profile, url=url)
    rows = [{"setting": name, "value": value, "source": source} for name, value, source in _list_settings(found)]
    if json:
        print_json({"whole": not found.missing, "settings": rows})
    else:
        print_list(rows, as_json=False)
    if found.missing:
        raise found.trouble or AccessError(f"The key isn't whole: set {' and '.join(found.missing)}, "
                                           "or keep it with `reelport auth login`.")  # fmt: skip


@AUTH.command
def logout(*, url: Url = None, profile: Profile = None) -> None:
    """Delete a key's stored secret. Address and id stay in config.toml.

    Example: reelport auth logout
    """
    found = find_in_force(os.environ, profile=profile, url=url)
    names = list_secret_names(found.settings)
    if not names:
        raise UsageError("There is no key to forget: no profile and no variable names one.")
    for name in names.values():
        places = secrets.delete_secret(name, resolve_home(os.environ))
        gone = f"removed from {' and '.join(places)}" if places else "was not stored"
        _say(f"{name.entry} at {name.url}: {gone}")
    for part in names:
        if os.environ.get(VARIABLES[part], "").strip():
            _say(f"note: {VARIABLES[part]} is still set")


def format_setting(setting: Setting) -> str:
    """Format a setting's value for display: of a secret only whether it is set."""
    if setting.name in SECRETS:
        return "set" if setting.value else "missing"
    return setting.value or ""


def _read_open_parts(known: Mapping[str, str], words: Mapping[str, str | None]) -> dict[str, str]:
    kind = words["kind"] or known.get("kind", "private")
    host = (PublicKey if kind == "public" else PrivateKey).host
    url = words["url"] or known.get("url") or os.environ.get(VARIABLES["url"], "").strip() or host
    wrong = find_error(lambda: normalize_url(url))
    if wrong and has_terminal():
        raise wrong
    given = {"url": url if wrong else normalize_url(url), "kind": kind}
    wanted = {"private": ("key",), "public": ("key", "username"), "bearer": ()}[kind]
    for part in wanted:
        before = known.get(part) or os.environ.get(VARIABLES[part], "").strip()
        answer = words[part] or _prompt({"key": "Key id", "username": "Account"}[part], before)
        given[part] = _require_text(answer, part)
    missing = [f"--{part}" for part in wanted if not given[part]]
    lines = [f"Which key? Give {format_list(missing)}."] if missing else []
    if wrong or lines:
        raise UsageError("\n".join([*lines, *([str(wrong)] if wrong else [])]))
    return given


def _prompt(question: str, before: str) -> str:
    if not has_terminal():
        return before
    print(f"{question}{f' [{before}]' if before else ''}: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline(_LONGEST + 2).strip() or before


def _choose_keyring(store: Store) -> KeyringBackend | None:
    ring = secrets.find_keyring() if store is Store.KEYRING else None
    if ring is None and store is Store.KEYRING:
        raise AccessError(
            "There is no keyring here that keeps secrets safe, so nothing was kept. Either\n"
            f"  set the secret in the environment ({', '.join(SECRETS.values())}), which suits servers, or\n"
            f"  install a keyring ({advise_extra('keyring')}, and a desktop's secret service), or\n"
            "  say --store file: a file of mode 0600 that holds the secret in clear."
        )
    return ring


def _read_secret(part: str) -> str:
    try:
        secret = _prompt_hidden(part) if has_terminal() else sys.stdin.readline(_LONGEST + 2) if sys.stdin else ""
    except EOFError:
        secret = ""
    except UnicodeDecodeError:
        raise UsageError(f"The {part} is no text of UTF-8.") from None
    if not secret.strip():
        raise UsageError(f"No {part} was given: type it on a terminal, or give it as a line of stdin.")
    return _require_text(secret, part)


def _require_text(text: str, part: str) -> str:
    text = text.strip()
    if not text.isprintable() or len(text) > _LONGEST:
        raise UsageError(f"The {part} can't be right: it is one line of at most {_LONGEST} characters that print.")
    return text


def _prompt_hidden(part: str) -> str:
    import getpass

    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return getpass.getpass(f"{part.capitalize()} (not shown): ")
        except getpass.GetPassWarning:
            raise UsageError("This terminal would show what is typed: give the secret on stdin.") from None


def _try_key(given: Mapping[str, str], parts: Mapping[str, str], *, insecure: bool) -> None:
    texts = {part: text for part, text in {**given, **parts}.items() if part != "kind"}
    clear = {INSECURE: os.environ.get(INSECURE, "")}
    try:
        try_key(partial(resolve_without_files, clear, insecure=insecure, **texts), given["url"])
    except AccessError as error:
        raise AccessError(f"{error}\nNothing was kept.") from error
    except ServiceError as error:
        raise type(error)(f"{error}\nNothing was kept; --offline keeps the key without trying it.") from error


def _say(line: str) -> None:
    print(line, file=sys.stderr)


# Environment variables that the libraries below obey.
_NETWORK = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "NO_COLOR")


def _list_settings(found: InForce) -> Iterator[tuple[str, str, str]]:
    unused = {part for parts in PARTS.values() for part in parts} - set(found.needed)
    unused |= {part for part in ("key", "username") if part not in found.needed}
    for name, setting in found.settings.items():
        if name not in unused:
            yield name, format_setting(setting), setting.source
    yield "home", str(resolve_home(os.environ)), HOME if os.environ.get(HOME, "").strip() else "default"
    for variable in _NETWORK:
        for name in (variable, variable.lower()):
            if text := os.environ.get(name, ""):
                login, at, rest = text.rpartition("@")
                yield name.lower(), f"{urlsplit(login).scheme}://…@{rest}" if at else text, name
