"""A state has one place and knows its tables: no service makes reports of others, or of none."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.server.conftest import State

from reelport.errors import StorageError
from reelport.facts.log.table_marks import FOLDER, IDENTITY, RECORD, identify_tables
from reelport.server.doctor.checks import check_tables
from reelport.server.files.store_owner import PLACE_FILE, identify_place
from reelport.server.state.database import connected, reading
from reelport.server.state.own_tables import read_tables_identity, require_own_tables


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
        (copy.data / PLACE_FILE).write_text("half")
        assert identify_place(state.db, copy) == identify_place(state.db, copy) != own


def test_a_copy_that_has_its_inode_by_chance_is_another_place(state: State) -> None:
    """As on another disk: it was born at another time."""
    settings = state.again(database_url=None)
    own = identify_place(state.db, settings)
    file = settings.data / PLACE_FILE
    identity, inode, born = file.read_text().split()
    if born == "None":
        pytest.skip("this file system doesn't tell a file's time of birth")
    file.write_text(f"{identity} {inode} {int(born) - 1}")
    assert identify_place(state.db, settings) == identify_place(state.db, settings) != own


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


def test_the_first_tables_that_are_used_become_the_states(state: State) -> None:
    """Whichever process is first."""
    assert read_tables_identity(state.db) is None
    require_own_tables(state.db, state.settings)
    require_own_tables(state.db, state.settings)
    assert read_tables_identity(state.db) == identify_tables(state.settings.data, state.settings.facts_root)


def test_a_machine_that_names_other_tables_is_refused(state: State, tmp_path: Path) -> None:
    """Though its data directory has never used any; those of the state are taken by every machine."""
    require_own_tables(state.db, state.settings)
    elsewhere = replace(state.settings, data=tmp_path / "machine-2")
    elsewhere.data.mkdir()
    with pytest.raises(StorageError, match="The tables that the state knows are not there"):
        require_own_tables(state.db, elsewhere)
    assert not list(elsewhere.data.iterdir())
    shutil.copytree(state.settings.facts_root, elsewhere.facts_root, dirs_exist_ok=True)
    require_own_tables(state.db, elsewhere)


def test_doctor_tells_tables_of_others_and_none(state: State) -> None:
    """With the words that a start of the service would have."""
    require_own_tables(state.db, state.settings)
    assert [*check_tables(state.settings)] == [(True, "Nothing is loaded yet.")]
    mark = state.settings.facts_root / FOLDER / IDENTITY
    mark.write_text("other\n")
    (state.settings.data / RECORD).write_text("other\n")
    with pytest.raises(StorageError, match="The tables that the state knows are others"):
        list(check_tables(state.settings))
    shutil.rmtree(state.settings.facts_root)
    with pytest.raises(StorageError, match="are not there"):
        list(check_tables(state.settings))
