"""What the tests of backups share: a state with tables, an archive beside them, and empty places to restore into."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from tests.server.conftest import State

from reelport.facts.sample.sample import generate
from reelport.server.access.channel_registry import list_channels
from reelport.server.backup.archive import Archive
from reelport.server.backup.create import create_backup
from reelport.server.backup.manifest import Manifest
from reelport.server.settings import Settings
from reelport.server.state.secret_fingerprint import require_same_secret

START, END = date(2026, 1, 1), date(2026, 1, 3)


class Desk:
    """A state and tables, an archive beside them, and empty places to restore into."""

    def __init__(self, state: State, folder: Path, empty_database: Callable[..., str]) -> None:
        self.state, self.folder = state, folder
        self.archive = Archive(folder / "archive")
        self._empty_database = empty_database

    def back_up(self, minutes: int = 0) -> Manifest:
        """Another backup, so many minutes later."""
        now = self.state.now + timedelta(minutes=minutes)
        return create_backup(self.state.db, self.state.settings, self.archive, now)

    def place(self, name: str = "new", *, secret: bool = True) -> Settings:
        """Settings of an empty data directory and database, with the secret unless it is said otherwise."""
        data = self.folder / name
        data.mkdir()
        if secret:
            shutil.copy(self.state.settings.data / "secret.key", data)
        address = self._empty_database() if self.state.settings.database_url else ""
        return replace(self.state.settings, data=data, database_url=address)


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables with sample facts: each test has its own copy."""
    root = tmp_path_factory.mktemp("sample") / "facts"
    generate(root, START, END, 600)
    return root


@pytest.fixture
def desk(kind: str, state: State, facts: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Desk:
    shutil.copytree(facts, state.settings.facts_root)
    state.organization("demo", *(channel.id for channel in list_channels(state.settings)))
    state.key("demo")
    require_same_secret(state.db, state.settings)
    make = request.getfixturevalue("new_database") if kind == "postgresql" else str
    return Desk(state, tmp_path, make)
