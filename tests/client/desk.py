"""A user's desk: a home, a project's folder, and an environment, as settings are read from them."""

from __future__ import annotations

import json
from pathlib import Path

from reelport.client.settings.profiles import find_in_force

HIDDEN = "hush-7c41-hush"


class Desk:
    """A home and a project's folder, and the environment of whoever sits there."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.folder = folder / "project"
        self.folder.mkdir()
        # No keyring of the machine that runs the tests has a say.
        self.environment = {"REELPORT_HOME": str(self.home)}

    def user(self, text: str) -> None:
        """The user's file."""
        self.home.mkdir(exist_ok=True)
        (self.home / "config.toml").write_text(text, "utf-8")

    def project(self, text: str) -> None:
        """The project's file."""
        (self.folder / "reelport.toml").write_text(text, "utf-8")

    def holds(self, entries: dict[str, str], mode: int = 0o600) -> None:
        """A file of secrets for the service U."""
        self.home.mkdir(exist_ok=True)
        path = self.home / "secrets.json"
        path.write_text(json.dumps({"https://u.example": entries}))
        path.chmod(mode)

    def source(self, name: str, profile: str | None = None, **environment: str) -> tuple[str | None, str]:
        """A setting's value and where it comes from."""
        found = find_in_force(self.environment | environment, profile=profile, folder=self.folder).settings[name]
        return found.value, found.source
