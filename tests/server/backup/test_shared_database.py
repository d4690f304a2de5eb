"""Restores into a PostgreSQL that another directory's restore or service wants too: one has it, the other is told."""

from __future__ import annotations

import re
import shutil
import threading
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text
from tests.server.backup.conftest import Desk

from reelport.errors import ReelportError, StorageError, UsageError
from reelport.facts import layout
from reelport.server.access import organizations
from reelport.server.backup.archive import Manifest
from reelport.server.backup.restore import DatabaseClaim, restore_backup
from reelport.server.backup.state_dump import describe_address, list_tables, load_state
from reelport.server.settings import Settings
from reelport.server.state.database import connect, connected, open_database, writing

pytestmark = pytest.mark.parametrize("kind", ["postgresql"], indirect=True)

FREE = "DROP TABLE reelport_restore"


def beside(desk: Desk, place: Settings) -> Settings:
    """Another data directory, with the same database."""
    return replace(place, data=Path(shutil.copytree(place.data, desk.folder / "beside")))


def claim_of(made: Manifest, place: Settings) -> DatabaseClaim:
    """The claim that a restore of the backup takes."""
    return DatabaseClaim.of(place, f"{made.id} {made.state.sha256} {describe_address(place)}")


def die_holding(claim: DatabaseClaim, dump: Path | None) -> None:
    """End as a restore that is killed with its claim, before or after it has loaded the state."""
    with claim.hold():
        if dump is not None:
            load_state(claim.settings, dump)
        raise KeyboardInterrupt


def test_of_two_directories_one_gets_the_database(backed_up: Desk) -> None:
    """The other one says why, and is left as it was; so it does when it is run again."""
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
    assert "is being restored into another data directory" in sentence or "isn't empty: name a new one" in sentence
    (won,) = {to.data for to in places} - {lost}
    layout.check_existing(won)
    assert {path.name for path in lost.iterdir()} == {"secret.key"}
    with pytest.raises(UsageError, match="isn't empty: name a new one"):
        restore_backup(backed_up.archive, made, replace(place, data=lost))


def test_a_killed_restore_does_not_take_the_state_that_another_loaded(backed_up: Desk) -> None:
    """Killed before its claim was taken, it finds a database that isn't empty."""
    made, place = backed_up.archive.read(), backed_up.place()
    killed = beside(backed_up, place)
    claim = claim_of(made, killed)
    layout.begin_restore(killed.data, f"{claim.origin}\n{claim.token}")
    restore_backup(backed_up.archive, made, place)
    with pytest.raises(UsageError, match="isn't empty: name a new one"):
        restore_backup(backed_up.archive, made, killed)


@pytest.mark.parametrize("is_loaded", [False, True])
def test_the_claim_of_a_killed_restore_is_its_directorys(backed_up: Desk, *, is_loaded: bool) -> None:
    """Another is refused until that one is run again, which goes on, and leaves no claim."""
    made, place = backed_up.archive.read(), backed_up.place()
    other = beside(backed_up, place)
    with pytest.raises(KeyboardInterrupt):
        die_holding(claim_of(made, place), backed_up.archive.locate(made.state) if is_loaded else None)
    with pytest.raises(UsageError, match="run that restore to its end, or name a new database"):
        restore_backup(backed_up.archive, made, other)
    restore_backup(backed_up.archive, made, place)
    layout.check_existing(place.data)
    assert set(list_tables(place)) == set(list_tables(backed_up.state.settings))


@pytest.mark.parametrize("is_loaded", [False, True])
def test_a_claim_whose_directory_is_gone_is_freed_by_hand(backed_up: Desk, *, is_loaded: bool) -> None:
    """By the statement that is told. A state that was loaded is nobody's: no statement is told then, nor would help."""
    made, place = backed_up.archive.read(), backed_up.place()
    other = beside(backed_up, place)
    with pytest.raises(KeyboardInterrupt):
        die_holding(claim_of(made, place), backed_up.archive.locate(made.state) if is_loaded else None)
    shutil.rmtree(place.data)
    with pytest.raises(UsageError) as refused:
        restore_backup(backed_up.archive, made, other)
    assert re.findall(r"DROP TABLE \w+", str(refused.value)) == [FREE][is_loaded:]
    with psycopg.connect(place.database_url) as connection:
        connection.execute(FREE)
    with pytest.raises(UsageError, match="isn't empty: name a new one") if is_loaded else nullcontext():
        restore_backup(backed_up.archive, made, other)
        layout.check_existing(other.data)


def test_a_restore_that_is_killed_again_after_it_loaded_goes_on(backed_up: Desk) -> None:
    """Its claim is given back then: the directory's mark says that the state is its own."""
    made, place = backed_up.archive.read(), backed_up.place()
    with claim_of(made, place).hold():
        load_state(place, backed_up.archive.locate(made.state))
    with pytest.raises(KeyboardInterrupt):
        die_holding(claim_of(made, place), None)
    restore_backup(backed_up.archive, made, place)
    layout.check_existing(place.data)


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


def load_beside_others(claim: DatabaseClaim, dump: Path) -> None:
    """Load the state where somebody else has made a table since the claim was taken."""
    with claim.hold():
        run_statements(claim.settings, "CREATE TABLE organizations (id integer)")
        load_state(claim.settings, dump)


def run_statements(place: Settings, *statements: str) -> None:
    """Change the database as somebody does by hand."""
    db = open_database(place)
    with writing(db) as connection:
        for statement in statements:
            connection.execute(text(statement))
    db.dispose()


def test_no_service_begins_in_a_database_that_is_restored_into(backed_up: Desk) -> None:
    """As on a machine that starts it again and again: the restored state would fail beside its empty one."""
    made, place = backed_up.archive.read(), backed_up.place()
    early = replace(place, data=backed_up.folder / "early")
    with claim_of(made, place).hold():
        begun = "restore into the database of REELPORT_DATABASE_URL was not finished"
        with pytest.raises(StorageError, match=f"{begun}.* is gone for good, the statement {FREE} "):
            connect(early)
        load_state(place, backed_up.archive.locate(made.state))
    restore_backup(backed_up.archive, made, place)
    with connected(place) as db:
        assert [each.name for each in organizations.list_organizations(db)] == ["demo"]


def test_tables_of_somebody_else_are_not_taken_for_the_restored_state(backed_up: Desk) -> None:
    """They came while files were copied: the restore fails, and does so when it is run again."""
    made, place = backed_up.archive.read(), backed_up.place()
    with pytest.raises(StorageError, match="already exists"):
        load_beside_others(claim_of(made, place), backed_up.archive.locate(made.state))
    with pytest.raises(UsageError, match="isn't empty: name a new one"):
        restore_backup(backed_up.archive, made, place)


def test_a_loaded_state_that_was_dropped_is_forgotten(backed_up: Desk) -> None:
    """Else the next restore of its directory would take the state that another has loaded since."""
    made, place = backed_up.archive.read(), backed_up.place()
    other, dump = beside(backed_up, place), backed_up.archive.locate(made.state)
    with claim_of(made, place).hold():
        load_state(place, dump)
    run_statements(place, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    whole = dump.read_bytes()
    dump.write_bytes(whole[::-1])
    with pytest.raises(StorageError, match="damaged"):
        restore_backup(backed_up.archive, made, place)
    dump.write_bytes(whole)
    restore_backup(backed_up.archive, made, other)
    with pytest.raises(UsageError, match="isn't empty: name a new one"):
        restore_backup(backed_up.archive, made, place)
