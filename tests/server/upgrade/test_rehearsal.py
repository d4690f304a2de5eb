"""An upgrade can be tried beforehand: it leaves no trace, and says what the upgrade then does."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Connection, inspect, text
from tests.disks import small_disk
from tests.server.upgrade.older_states import OLDER, make_older_state, migrate_to, opened

from reelport.errors import NewerData, StorageError, UsageError
from reelport.facts.layout import check_layout
from reelport.server.settings import Settings
from reelport.server.state.database import connect, reading, writing
from reelport.server.state.revisions import REVISION, list_pending, read_revision
from reelport.server.upgrade.rehearsal import rehearse
from reelport.server.upgrade.shape import Shape, TableShape, describe_changes, read_shape

REVISIONS = [migration.revision for migration in list_pending(None)]


def shape_of(settings: Settings) -> tuple[str | None, Shape]:
    """Revision, tables and numbers of rows."""
    with opened(settings) as db, reading(db) as connection:
        return read_revision(connection), read_shape(connection)


@pytest.fixture
def older(settings: Settings) -> Settings:
    """A state of an older version with an organization."""
    make_older_state(settings)
    return settings


def test_a_tried_upgrade_changes_nothing_and_says_what_the_upgrade_does(older: Settings) -> None:
    """The state stays as it is, nothing is left beside it, and the upgrade makes the very changes that were said."""
    before, files = shape_of(older), set(older.data.iterdir())
    tried = rehearse(older)
    assert shape_of(older) == before
    assert set(older.data.iterdir()) == files
    assert (tried.found, [step.revision for step in tried.pending]) == (OLDER, REVISIONS[REVISIONS.index(OLDER) + 1 :])
    connect(older).dispose()
    revision, after = shape_of(older)
    assert revision == REVISION
    assert tried.changes == tuple(describe_changes(before[1], after))
    assert "makes table audit_log" in tried.changes
    assert (tried.room_needed is None) == bool(older.database_url)


def test_a_state_that_is_up_to_date_needs_nothing(older: Settings) -> None:
    """Neither room nor time, and no process has to stop."""
    connect(older).dispose()
    tried = rehearse(older)
    assert (tried.pending, tried.changes, tried.seconds, tried.blockers) == ((), (), 0.0, ())


def test_what_a_newer_version_wrote_is_refused(older: Settings) -> None:
    """A revision that this version doesn't know can't be upgraded by it."""
    with opened(older) as db, writing(db) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(NewerData, match="9999"):
        rehearse(older)


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_too_little_room_for_the_copy_is_said_before_it_is_made(older: Settings, tmp_path: Path) -> None:
    """A folder on another disk may be named, and one that is too small is refused."""
    with small_disk(tmp_path / "small", "64k") as small:
        with pytest.raises(UsageError, match="65,536 bytes of room"):
            rehearse(older, small)
        assert not list(small.iterdir())
    (tmp_path / "large").mkdir()
    assert rehearse(older, tmp_path / "large").changes


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_the_copy_of_a_try_that_was_killed_goes_with_the_next(older: Settings) -> None:
    """It is as large as the state."""
    left = older.data / ".upgrade-check-killed"
    left.mkdir()
    (left / "state.db").write_bytes(b"half")
    assert rehearse(older).changes
    assert not left.exists()


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_what_is_in_the_log_only_needs_room_too(older: Settings, tmp_path: Path) -> None:
    """The copy has those commits: a log of a megabyte would fill a folder that has room for the state alone."""
    with small_disk(tmp_path / "small", "3m") as small, opened(older) as db, reading(db) as connection:
        connection.execute(text("SELECT 1 FROM organizations")).all()
        state = older.state_file.stat().st_size
        assert 3 * state < 3 * 2**20
        with writing(db) as other:
            other.execute(text("CREATE TABLE filler AS SELECT zeroblob(2000000) AS content"))
        assert older.state_file.stat().st_size == state
        with pytest.raises(UsageError, match="3,145,728 bytes of room"):
            rehearse(older, small)
        assert not list(small.iterdir())


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_tables_in_use_end_a_try_instead_of_being_held_up(older: Settings) -> None:
    """A statement that waits for a lock keeps later ones waiting too: the try gives up, and changed nothing."""
    with opened(older) as db, writing(db) as connection:
        connection.execute(text("LOCK TABLE keys IN ACCESS SHARE MODE"))
        with pytest.raises(StorageError, match=r"lock timeout.*Nothing was changed"):
            rehearse(older)
    assert shape_of(older)[0] == OLDER


def test_rows_that_a_migration_can_not_take_are_said(older: Settings) -> None:
    """Here two keys of a kind of which an organization has one. The state stays as it is."""
    key = "INSERT INTO keys (id, organization_id, secret_hash, permissions, limited, created_at, kind)"
    with opened(older) as db, writing(db) as connection:
        for name in ("a", "b"):
            connection.execute(text(f"{key} VALUES ('{name}', 1, 'h', '', 0, 1, 'studio')"))
    with pytest.raises(StorageError, match=r"A migration fails over the rows of this state: .*(uq_keys_studio|keys)"):
        rehearse(older)
    assert shape_of(older)[0] == OLDER


def test_lost_rows_and_columns_are_said() -> None:
    """A migration that loses something is seen before it does."""
    before = {"a": TableShape(("x", "y"), 1200), "b": TableShape(("x",), 1)}
    after = {"a": TableShape(("x", "z"), 1), "c": TableShape(("x",), 0)}
    assert list(describe_changes(before, after)) == [
        "adds z to a",
        "drops y of a",
        "leaves 1 row of 1,200 in a",
        "drops table b with 1 row",
        "makes table c",
    ]


def columns_of(connection: Connection) -> dict[str, dict[str, str]]:
    """The type of each column of each table."""
    found = inspect(connection)
    return {
        name: {column["name"]: str(column["type"]) for column in found.get_columns(name)}
        for name in found.get_table_names()
    }


def test_a_compatible_migration_takes_nothing_from_older_processes(settings: Settings) -> None:
    """Every column is still there with its type, and a row that names only those can be inserted as before."""
    check_layout(settings.data)
    steps = list_pending(None)
    with opened(settings) as db:
        for step in steps:
            with reading(db) as connection:
                before = columns_of(connection)
            with writing(db) as connection:
                migrate_to(connection, step.revision)
            with reading(db) as connection:
                after = columns_of(connection)
                asks = _find_new_demands(connection, before)
            kept = all(columns.items() <= after.get(name, {}).items() for name, columns in before.items())
            assert step.backward_compatible == (kept and not asks), step


def _find_new_demands(connection: Connection, before: dict[str, dict[str, str]]) -> list[str]:
    """The new columns of older tables that a row must have a value for."""
    found = inspect(connection)
    return [
        f"{name}.{column['name']}"
        for name in before.keys() & set(found.get_table_names())
        for column in found.get_columns(name)
        if column["name"] not in before[name] and not column["nullable"] and column["default"] is None
    ]
