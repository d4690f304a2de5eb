"""A state knows its tables: no service makes reports of others, or of none."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.server.conftest import State

from reelport.errors import StorageError
from reelport.facts.log.table_marks import FOLDER, IDENTITY, RECORD, identify_tables
from reelport.server.doctor.checks import check_tables
from reelport.server.state.own_tables import read_tables_identity, require_own_tables


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
