"""What the tests of backups share: a state with tables, an archive beside them, and empty places to restore into."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from tests.migrated import begin_state
from tests.once import make_once
from tests.server.conftest import State

from reelport.facts.sample.sample import generate
from reelport.server.access.channel_registry import list_channels
from reelport.server.backup.incremental_backup import create_backup
from reelport.server.backup.kept_backups import Archive, Manifest
from reelport.server.backup.restore import find_faults
from reelport.server.credentials import load_service_secret
from reelport.server.settings import Settings, read_settings
from reelport.server.state.database import connect
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

    def find_faults(self, made: Manifest, scratch: Path | None = None, *, data: Path | None = None) -> list[str]:
        """The faults of a backup, tried in an empty database where its state needs one."""
        settings = self.state.settings if data is None else replace(self.state.settings, data=data)
        return find_faults(self.archive, made, settings, scratch, self._empty_database() or None)

    def place(self, name: str = "new", *, secret: bool = True) -> Settings:
        """Settings of an empty data directory and database, with the secret unless it is said otherwise."""
        data = self.folder / name
        data.mkdir()
        if secret:
            shutil.copy(self.state.settings.data / "secret.key", data)
        address = self._empty_database() if self.state.settings.database_url else ""
        return replace(self.state.settings, data=data, database_url=address)


@pytest.fixture(scope="session")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables with sample facts: each test has its own copy."""
    return make_once(tmp_path_factory, "backed-up", lambda root: generate(root, START, END, 600))


@pytest.fixture
def desk(kind: str, state: State, facts: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Desk:
    make = request.getfixturevalue("new_database") if kind == "postgresql" else str
    return _furnish(state, facts, tmp_path, make)


@pytest.fixture(scope="module")
def origin(facts: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A desk on SQLite with a backup: tests restore a copy of that, and change nothing else."""
    folder = tmp_path_factory.mktemp("origin")
    settings = read_settings(data=folder / "data", workers=0)
    begin_state(settings)
    db = connect(settings)
    desk = _furnish(State(settings, db, load_service_secret(settings)), facts, folder, str)
    desk.back_up()
    yield desk
    db.dispose()


@pytest.fixture
def backed_up(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Desk:
    """A desk with a backup, in an archive of this test's own."""
    if kind == "postgresql":
        desk: Desk = request.getfixturevalue("desk")
        desk.back_up()
        return desk
    origin: Desk = request.getfixturevalue("origin")
    desk = Desk(origin.state, tmp_path, str)
    shutil.copytree(origin.archive.root, desk.archive.root)
    return desk


def _furnish(state: State, facts: Path, folder: Path, empty_database: Callable[..., str]) -> Desk:
    """A desk with these tables, an organization and a key."""
    shutil.copytree(facts, state.settings.facts_root)
    state.organization("demo", *(channel.id for channel in list_channels(state.settings)))
    state.key("demo")
    require_same_secret(state.db, state.settings)
    return Desk(state, folder, empty_database)
