"""A backup of a state in PostgreSQL is verified by restoring it, too."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from tests.server.backup.conftest import Desk

from reelport.errors import StorageError, UsageError
from reelport.server.backup.restore import find_faults
from reelport.server.backup.state_dump import list_tables
from reelport.storage.local_folder import LocalFolder


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_state_of_postgresql_is_verified_by_restoring_it(desk: Desk, new_database: Callable[..., str]) -> None:
    """Into a named database, which is empty again after; one with tables is refused, and keeps them."""
    made, empty = desk.back_up(), new_database()
    assert find_faults(desk.archive, made, desk.state.settings, None, empty) == []
    assert list_tables(replace(desk.state.settings, database_url=empty)) == ()
    with pytest.raises(UsageError, match="of --scratch-database isn't empty"):
        find_faults(desk.archive, made, desk.state.settings, None, desk.state.settings.database_url)
    with pytest.raises(UsageError, match="name an empty database to restore it into"):
        find_faults(desk.archive, made, desk.state.settings, None)
    assert "organizations" in list_tables(desk.state.settings)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_state_of_postgresql_that_can_not_be_loaded_is_told(
    desk: Desk, new_database: Callable[..., str], tmp_path: Path
) -> None:
    """After the database has loaded one that can; it is empty again."""
    made, empty = desk.back_up(), new_database()
    (tmp_path / "dump").write_bytes(desk.archive.locate(made.state).read_bytes()[:-2000])
    with closing(LocalFolder(tmp_path).open("dump")) as cut:
        broken = replace(made, state=desk.archive.store(cut))
    assert find_faults(desk.archive, made, desk.state.settings, None, empty) == []
    with pytest.raises(StorageError, match="end of file"):
        find_faults(desk.archive, broken, desk.state.settings, None, empty)
    assert list_tables(replace(desk.state.settings, database_url=empty)) == ()
