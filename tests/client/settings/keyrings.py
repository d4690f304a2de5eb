"""Keyrings of keyring's own kind, for processes that tests start with PYTHON_KEYRING_BACKEND."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked, PasswordDeleteError


class Drawer(KeyringBackend):
    """A keyring that keeps its entries in the JSON file that DRAWER names."""

    priority = 5

    def get_password(self, service: str, username: str) -> str | None:
        """The entry, if there is one."""
        found: str | None = self._entries().get(f"{service}|{username}")
        return found

    def set_password(self, service: str, username: str, password: str) -> None:
        """Keep it."""
        self._path().write_text(json.dumps({**self._entries(), f"{service}|{username}": password}))

    def delete_password(self, service: str, username: str) -> None:
        """Take it out."""
        entries = self._entries()
        if entries.pop(f"{service}|{username}", None) is None:
            raise PasswordDeleteError(username)
        self._path().write_text(json.dumps(entries))

    def _entries(self) -> dict[str, Any]:
        held: dict[str, Any] = json.loads(self._path().read_text()) if self._path().exists() else {}
        return held

    def _path(self) -> Path:
        return Path(os.environ["DRAWER"])


class Locked(Drawer):
    """One that nobody unlocks."""

    def get_password(self, service: str, username: str) -> str | None:
        """Nothing."""
        raise KeyringLocked(f"no one unlocked it for {service}, {username}")


class Sieve(Drawer):
    """One that takes everything and keeps nothing."""

    def set_password(self, service: str, username: str, password: str) -> None:
        """Take it, and that is all."""
