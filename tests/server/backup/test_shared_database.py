"""Restores into a PostgreSQL that another directory's restore or service wants too: one has it, the other is told."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from tests.server.backup.conftest import Desk

from reelport.errors import ReelportError, StorageError, UsageError
from reelport.facts import layout
from reelport.server.access import organizations
from reelport.server.backup.restore import restore_backup
from reelport.server.backup.state_dump import describe_address, list_tables, load_state
from reelport.server.settings import Settings
from reelport.server.state.database import connect, connected

pytestmark = pytest.mark.parametrize("kind", ["postgresql"], indirect=True)


def beside(desk: Desk, place: Settings) -> Settings:
    """Another data directory, with the same database."""
    return replace(place, data=Path(shutil.copytree(place.data, desk.folder / "beside")))


def test_of_two_directories_one_gets_the_database(backed_up: Desk) -> None:
    """The other one fails, and may not be used; it says why when it is run again."""
    made, place = backed_up.archive.read(), backed_up.place()
    places, said = [place, beside(backed_up, place)], dict[Path, str]()
    both = threading.Barrier(2)

    def restore(to: Settings) -> None:
        both.wait()
        try:
            restore_backup(backed_up.archive, made, to)
        except ReelportError as error:
            said[to.data] = str(error)

    threads = [threading.Thread(target=restore, args=(to,)) for to in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ((lost, sentence),) = said.items()
    assert "already exists" in sentence or "isn't empty: name a new one" in sentence
    (won,) = {to.data for to in places} - {lost}
    layout.check_existing(won)
    with pytest.raises(ReelportError):
        layout.check_existing(lost)
    with pytest.raises(UsageError, match="isn't empty: name a new one"):
        restore_backup(backed_up.archive, made, replace(place, data=lost))


def test_a_killed_restore_does_not_take_the_state_that_another_loaded(backed_up: Desk) -> None:
    """Killed before it loaded its own, it finds a database that isn't empty."""
    made, place = backed_up.archive.read(), backed_up.place()
    killed = beside(backed_up, place)
    layout.begin_restore(killed.data, made.id)
    restore_backup(backed_up.archive, made, place)
    with pytest.raises(UsageError, match="isn't empty: name a new one"):
        restore_backup(backed_up.archive, made, killed)


def test_a_restore_that_fails_leaves_the_database_free(backed_up: Desk) -> None:
    """A damaged backup is no reason to name another database for the next one."""
    made, place = backed_up.archive.read(), backed_up.place()
    other = beside(backed_up, place)
    path = backed_up.archive.locate(made.state)
    whole = path.read_bytes()
    path.write_bytes(whole[::-1])
    with pytest.raises(StorageError, match="damaged"):
        restore_backup(backed_up.archive, made, place)
    assert list_tables(place) == ()
    path.write_bytes(whole)
    restore_backup(backed_up.archive, made, other)


def test_tables_of_a_service_that_began_first_are_not_taken_for_the_restored_state(backed_up: Desk) -> None:
    """They came while files were copied: nothing is loaded, and the restore is refused when it is run again."""
    made, place = backed_up.archive.read(), backed_up.place()
    early = replace(place, data=backed_up.folder / "early")
    connect(early).dispose()
    with pytest.raises(StorageError, match="already exists"):
        load_state(place, backed_up.archive.locate(made.state))
    layout.begin_restore(place.data, made.id)
    with pytest.raises(UsageError, match="isn't empty: name a new one"):
        restore_backup(backed_up.archive, made, place)
    with connected(early) as db:
        assert not organizations.list_organizations(db)


def test_a_loaded_state_that_was_dropped_is_loaded_again(backed_up: Desk) -> None:
    """Though the directory's mark says that it was."""
    made, place = backed_up.archive.read(), backed_up.place()
    layout.begin_restore(place.data, f"{made.id} {made.state.sha256} {describe_address(place)}")
    restore_backup(backed_up.archive, made, place)
    with connected(place) as db:
        assert [each.name for each in organizations.list_organizations(db)] == ["demo"]
