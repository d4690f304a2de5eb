"""A state has one place: it stays the same where the state stays, and a copy has another one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.server.conftest import State

from reelport.server.settings import Settings
from reelport.server.state.database import connected, reading
from reelport.server.state.place import NAME, SEEN_NAME, identify_place
from reelport.storage.birth_time import read_birth_time


def test_a_place_stays_itself(state: State) -> None:
    """Whoever looks first, and whoever looks at the same time."""
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: identify_place(state.db, state.settings), range(16)))
    assert len(found) == 1
    assert identify_place(state.db, state.settings) in found


def test_a_copy_of_a_directory_is_another_place(state: State, tmp_path: Path) -> None:
    """Its file says so itself, whole or damaged; where the state is in PostgreSQL no directory counts."""
    own = identify_place(state.db, state.settings)
    copy = state.again(data=tmp_path / "copy")
    shutil.copytree(state.settings.data, copy.data, ignore=shutil.ignore_patterns("workers"))
    assert (identify_place(state.db, copy) == own) == bool(state.settings.database_url)
    assert identify_place(state.db, state.settings) == own
    if not state.settings.database_url:
        (copy.data / NAME).write_text("half")
        assert identify_place(state.db, copy) == identify_place(state.db, copy) != own


@pytest.mark.parametrize(
    ("on_another_disk", "was_changed", "was_born"),
    [(True, True, True), (True, True, False), (True, False, True), (False, True, True)],
)
def test_a_copy_that_has_its_inode_by_chance_is_another_place(
    state: State, tmp_path: Path, on_another_disk: bool, was_changed: bool, was_born: bool
) -> None:
    """A copy on another disk has another device and two other times; nothing that happens to one file changes all."""
    own = identify_place(state.db, state.settings)
    copy = _copy_state(state, tmp_path)
    first = identify_place(state.db, copy)
    assert first != own
    device, changed, born = map(int, _read_seen(copy))
    (copy.data / SEEN_NAME).write_text(f"{device + on_another_disk} {changed - was_changed} {born - was_born}")
    assert (identify_place(state.db, copy) == first) != (on_another_disk and was_changed and was_born)
    assert _read_seen(copy)[0] == str(device)
    assert identify_place(state.db, copy) == identify_place(state.db, copy)


def test_a_place_whose_birth_was_not_recorded_goes_by_the_rest(state: State, tmp_path: Path) -> None:
    """As on a file system that doesn't tell it: device and time of change decide."""
    copy = _copy_state(state, tmp_path)
    first = identify_place(state.db, copy)
    device, changed, _ = map(int, _read_seen(copy))
    (copy.data / SEEN_NAME).write_text(f"{device + 1} {changed}")
    assert identify_place(state.db, copy) == first
    (copy.data / SEEN_NAME).write_text(f"{device + 1} {changed - 1}")
    assert identify_place(state.db, copy) != first


def _copy_state(state: State, tmp_path: Path) -> Settings:
    """Copy a state's directory, without what tells its place; skip where no file tells its time of birth."""
    copy = state.again(data=tmp_path / "copy", database_url=None)
    shutil.copytree(state.settings.data, copy.data, ignore=shutil.ignore_patterns("workers", f"{NAME}*"))
    if read_birth_time(copy.data) is None:
        pytest.skip("this file system doesn't tell a file's time of birth")
    return copy


def _read_seen(settings: Settings) -> list[str]:
    return (settings.data / SEEN_NAME).read_text().split()


def test_each_database_is_another_place(new_database: Callable[[], str], state: State, tmp_path: Path) -> None:
    """Of one cluster, too; and any user may ask for it."""
    others = [state.again(data=tmp_path / str(n), database_url=new_database()) for n in range(2)]
    places = {identify_place(state.db, state.settings)}
    for settings in others:
        with connected(settings) as db:
            places.add(identify_place(db, settings))
            with reading(db) as connection:
                asked = text("SELECT has_function_privilege('public', 'pg_control_system()', 'execute')")
                assert connection.execute(asked).scalar_one()
    assert len(places) == 3
