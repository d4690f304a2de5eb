"""Store and find secrets: environment, the system's keyring, or a private file.

Looked up in this order. A secret is stored in clear text only when the user asks for the file.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from reelport.client.files.download_target import translate_io_errors
from reelport.client.settings.profile_file import lock_folder, write_private
from reelport.errors import AccessError, StorageError, UsageError

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

SECRETS_FILE = "secrets.json"

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_RECOMMENDED = 1.0
_LARGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class Name:
    """A secret's name: one part (`secret`, `password`, `bearer`) of a key at a service."""

    url: str
    holder: str
    part: str

    @property
    def entry(self) -> str:
        """The part and its holder, in one text."""
        return f"{self.part} of {self.holder}"


@dataclass(frozen=True, slots=True)
class Found:
    """A secret and the place where it was found. Its `repr` leaves out the secret."""

    secret: str = field(repr=False)
    place: str


def look_up(name: Name, home: Path) -> Found | None:
    """Look up a secret in the keyring, else in the file.

    Raises UsageError or AccessError for one that can't be trusted or opened.
    """
    ring = find_keyring()
    if ring is not None:
        secret = _read_from_keyring(ring, name)
        if secret:
            return Found(secret, f"keyring ({ring.name})")
    secret = _read_file(home / SECRETS_FILE).get(name.url, {}).get(name.entry)
    return Found(secret, f"file ({home / SECRETS_FILE})") if secret else None


def find_keyring() -> KeyringBackend | None:
    """Find the system's keyring; None where there is none that protects secrets.

    One that the user chose (PYTHON_KEYRING_BACKEND, keyringrc.cfg) is used without a check, of the others only those
    that the keyring library recommends: some that it can find store secrets in clear text.
    """
    try:
        from keyring import core  # noqa: PLC0415 - an extra, and slow: needed only where no secret was given
        from keyring.backend import get_all_keyring  # noqa: PLC0415 - the same
        from keyring.backends.chainer import ChainerBackend  # noqa: PLC0415 - the same
    except ImportError:
        return None
    try:
        chosen = core.load_env() or core.load_config()
    except Exception as error:  # a backend of anybody's raises what it likes
        raise UsageError(f"The keyring that is set can't be used (PYTHON_KEYRING_BACKEND or keyringrc.cfg): "
                         f"{_read_first_line(error)}.") from error  # fmt: skip
    if chosen is not None:
        return None if chosen.priority <= 0 else chosen
    sound = [ring for ring in get_all_keyring() if not isinstance(ring, ChainerBackend)]
    sound = [ring for ring in sound if ring.priority >= _RECOMMENDED]
    return max(sound, key=lambda ring: ring.priority, default=None)


def store_in_keyring(ring: KeyringBackend, name: Name, secret: str) -> str:
    """Store a secret in the keyring; return the place. AccessError if it isn't given back."""
    with _translate_keyring_errors():
        ring.set_password(_format_service(name), name.entry, secret)
    if _read_from_keyring(ring, name) != secret:
        raise AccessError(f"The keyring ({ring.name}) took the secret but doesn't give it back.")
    return f"keyring ({ring.name})"


def store_in_file(home: Path, name: Name, secret: str) -> str:
    """Store a secret in the file, in clear text, readable only for its owner; return the place."""
    path = home / SECRETS_FILE
    with lock_folder(home):
        held = _read_file(path)
        held.setdefault(name.url, {})[name.entry] = secret
        _write_file(path, held)
    return f"file ({path})"


def delete_secret(name: Name, home: Path) -> tuple[str, ...]:
    """Delete a secret from the keyring and the file; return the places that had it."""
    places: list[str] = []
    ring = find_keyring()
    if ring is not None and _read_from_keyring(ring, name) is not None:
        with _translate_keyring_errors():
            ring.delete_password(_format_service(name), name.entry)
        places.append(f"keyring ({ring.name})")
    path = home / SECRETS_FILE
    if not path.exists():
        return tuple(places)
    with lock_folder(home):
        held = _read_file(path)
        if held.get(name.url, {}).pop(name.entry, None) is not None:
            _write_file(path, {url: entries for url, entries in held.items() if entries})
            places.append(f"file ({path})")
    return tuple(places)


def _read_from_keyring(ring: KeyringBackend, name: Name) -> str | None:
    with _translate_keyring_errors():
        secret: str | None = ring.get_password(_format_service(name), name.entry)
        return secret


def _format_service(name: Name) -> str:
    return f"reelport {name.url}"


@contextmanager
def _translate_keyring_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # a backend of anybody's raises what it likes
        raise AccessError(
            f"The keyring doesn't answer: {_read_first_line(error)}. Unlock it, or set the secret in the environment, "
            "or keep it in a file with `reelport auth login --store file`."
        ) from error


def _read_file(path: Path) -> dict[str, dict[str, str]]:
    with translate_io_errors(path):
        try:
            with path.open("rb") as file:
                _check_owner(path, os.fstat(file.fileno()))
                text = file.read(_LARGEST)
        except FileNotFoundError:
            return {}
    try:
        held = json.loads(text)
        return {url: {str(entry): str(secret) for entry, secret in entries.items()} for url, entries in held.items()}
    except (ValueError, AttributeError, RecursionError):
        raise StorageError(f"{path} isn't a file of secrets as `reelport auth login --store file` writes it. "
                           "Move it away and log in again.") from None  # fmt: skip


def _write_file(path: Path, held: dict[str, dict[str, str]]) -> None:
    write_private(path, json.dumps(held, indent=2, ensure_ascii=False, sort_keys=True) + "\n")


def _check_owner(path: Path, status: os.stat_result) -> None:
    if not hasattr(os, "geteuid"):
        return  # Windows has no file modes, but private user folders.
    if status.st_uid not in {os.geteuid(), 0}:
        raise AccessError(f"{path} belongs to somebody else: its secrets are not used. Log in again as yourself.")
    if status.st_mode & _OTHERS:
        mode = stat.S_IMODE(status.st_mode)
        raise AccessError(f"Others may read {path} (mode {mode:04o}): its secrets are not used. Run "
                          f"chmod 600 {path}, and have a new secret made if somebody could have read it.")  # fmt: skip


def _read_first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:300]
