"""Profile files: read one and report every fault at once; change one profile at a time.

A secret in one is an error, because people share and commit such files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reelport.client.files.download_target import translate_io_errors
from reelport.client.files.locks import replace_whole, wait_for_lock
from reelport.errors import UsageError
from reelport.similar_names import nearest, suggest

# Kinds of key: a private API key, a public one with a username and password, a bearer token.
KINDS = ("private", "public", "bearer")

TEXTS = ("url", "kind", "key", "username")
NUMBERS = ("slots", "window_days")
_FIELDS = (*TEXTS, *NUMBERS)
OURS = ("profile", "profiles")  # what a file of profiles holds: the name of one of them, and their tables
# What a project's file holds: specs of reports too, which are read elsewhere.
PROJECT_NAMES = ("defaults", "reports", *OURS)

_SECRETS = frozenset(
    {"secret", "api_secret", "client_secret", "password", "token", "access_token", "refresh_token", "bearer"}
)
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LARGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class ProfileFile:
    """A file's content: its preferred profile, and each profile's settings as texts."""

    path: Path
    preferred: str | None = None
    profiles: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def read_profiles(path: Path, *, alone: bool) -> ProfileFile:
    """Read the profiles in a file; none when there is no file.

    With `alone` the file must hold nothing else; otherwise tables of other programs are ignored. Raises UsageError with
    every fault, StorageError when the file can't be read.
    """
    found, known = parse_toml(path), OURS if alone else PROJECT_NAMES
    faults = [*_list_secret_faults(found), *_list_misplaced(found, known, alone=alone)]
    tables = found.get("profiles", {})
    if not isinstance(tables, dict):
        faults.append("profiles is no table: write [profiles.NAME].")
        tables = {}
    tables = _find_mistyped(found, known) | tables
    for name, table in tables.items():
        faults += _list_profile_faults(name, table)
    if faults:
        raise UsageError("\n".join(f"{path}: {fault}" for fault in faults))
    preferred = found.get("profile")
    return ProfileFile(
        path,
        preferred if isinstance(preferred, str) else None,
        {name: {key: str(value) for key, value in table.items()} for name, table in tables.items()},
    )


def check_name(name: str) -> str:
    """Return a valid profile name; raises UsageError for another."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name[:80]!r} can't be a profile's name: up to 64 letters, digits, - and _.")
    return name


def write_profile(path: Path, name: str, settings: Mapping[str, str]) -> None:
    """Write a profile in place of its namesake; UsageError where that isn't safe."""
    import tomllib  # noqa: PLC0415 - only a command that finds or writes such a file needs it

    section = [f"[profiles.{check_name(name)}]", *(_format_line(key, value) for key, value in settings.items())]
    with lock_folder(path.parent):
        before = parse_toml(path)
        wanted = {**before, "profiles": {**before.get("profiles", {}), name: tomllib.loads("\n".join(section[1:]))}}
        text = "\n".join([*_remove_profile(_read_text(path).splitlines(), name), *section]).lstrip("\n") + "\n"
        try:
            sound = tomllib.loads(text) == wanted
        except tomllib.TOMLDecodeError:
            sound = False
        if not sound:
            advice = "\n".join(["Write this into it by hand:", *section])
            raise UsageError(f"{path} is written in a way that this command can't change safely. {advice}")
        write_private(path, text)


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Lock a settings folder against other processes in the block; makes a missing one."""
    with translate_io_errors(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder / "config.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        wait_for_lock(lock)
        yield
    finally:
        os.close(lock)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read; whole or not at all."""
    with translate_io_errors(path), replace_whole(path.resolve()) as part:
        part.touch(mode=0o600)
        part.write_text(text, "utf-8")


def _read_text(path: Path) -> str:
    with translate_io_errors(path):
        try:
            with path.open("rb") as file:
                data = file.read(_LARGEST + 1)
        except FileNotFoundError:
            return ""
    if len(data) > _LARGEST:
        raise UsageError(f"{path} is larger than a file of settings may be (1 MiB).")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no UTF-8 text.") from None


def parse_toml(path: Path) -> dict[str, Any]:
    """Parse a file of settings; a missing one is empty. UsageError where it isn't TOML."""
    text = _read_text(path)
    if not text:
        return {}
    import tomllib  # noqa: PLC0415 - see `write_profile`

    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{path} is no TOML: {error}.") from None


def _list_secret_faults(value: object, place: str = "") -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _list_secret_faults(each, place)
    if not isinstance(value, dict):
        return
    for key, inner in value.items():
        where = f"{place}.{key}".lstrip(".")
        yield from _list_secret_faults(inner, where)
        if _is_secret(key) and not isinstance(inner, dict):
            yield (
                f"{where} is a secret, and a secret doesn't belong in this file. Take it out, have a new one made if "
                "others could read the file, and keep it with `reelport auth login`, or in the environment."
            )


def _is_secret(key: str) -> bool:
    return key.lower().replace("-", "_") in _SECRETS


def _list_misplaced(found: Mapping[str, Any], known: tuple[str, ...], *, alone: bool) -> Iterator[str]:
    if not isinstance(found.get("profile", ""), str):
        meant = ", or [profiles.NAME] for a profile itself" if isinstance(found["profile"], dict) else ""
        yield f'profile is no name: write profile = "NAME", above the first [table]{meant}.'
    for key, value in found.items():
        # A project's file may have tables of other programs, unless their names are near ours.
        is_foreign = not alone and isinstance(value, dict) and nearest(key, known) not in OURS
        if key in _FIELDS:
            yield f"{key} stands outside of a profile: write it below [profiles.default]."
        elif key not in known and not _is_secret(key) and not is_foreign:
            yield f"there is no setting {key[:80]!r}.{suggest(key, known)}"


def _find_mistyped(found: Mapping[str, Any], known: tuple[str, ...]) -> dict[str, Any]:
    near = [key for key in found if key not in PROJECT_NAMES and nearest(key, known) in OURS]
    near += ["profile"] if "profile" in found else []
    return {
        name: table
        for key in near
        if isinstance(found[key], dict)
        for name, table in found[key].items()
        if isinstance(table, dict)
    }


def _list_profile_faults(name: str, table: object) -> Iterator[str]:
    place = f"profiles.{name[:80]}"
    if not _NAME.fullmatch(name):
        yield f"{place}: a profile's name is up to 64 letters, digits, - and _."
    if not isinstance(table, dict):
        yield f"{place} is no table: write [{place}]."
        return
    for key, value in table.items():
        if key not in _FIELDS and _is_secret(key):
            continue
        if key not in _FIELDS:
            yield f"{place}: there is no setting {key[:80]!r}.{suggest(key, _FIELDS)}"
        elif key in TEXTS and not (isinstance(value, str) and value.strip()):
            yield f"{place}.{key} is no text."
        elif key in NUMBERS and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            yield f"{place}.{key} is no whole number from 1."
        elif key == "kind" and value not in KINDS:
            yield f"{place}.kind is one of {', '.join(KINDS)}."


def _remove_profile(lines: list[str], name: str) -> list[str]:
    """Remove one profile's table from a file's lines; comments above the next table stay."""
    kept: list[str] = []
    leading: list[str] = []
    inside = False
    for line in lines:
        bare = line.split("#")[0].strip()
        if bare.startswith("["):
            inside = bare == f"[profiles.{name}]"
        if not inside:
            kept += [*leading, line]
        leading = [*leading, line] if inside and not bare else []
    kept += leading
    while kept and not kept[-1].strip():
        kept.pop()
    return [*kept, ""] if kept else []


def _format_line(key: str, value: str) -> str:
    if key in NUMBERS:
        return f"{key} = {value}"
    quoted = "".join(_escape(character) for character in value)
    return f'{key} = "{quoted}"'


def _escape(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if character.isprintable() else f"\\U{ord(character):08X}"
