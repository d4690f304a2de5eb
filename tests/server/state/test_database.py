"""The database itself: migrations, durability, several processes at once, and what is in the way."""

from __future__ import annotations

import fcntl
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, text
from tests import forked
from tests.disks import fill, small_disk
from tests.server.conftest import NOW, State
from tests.server.state.first_tables import create_first_tables

from reelport.errors import DiskFull, NewerData, StorageError, UsageError
from reelport.facts.layout import check_layout
from reelport.server.access import organizations
from reelport.server.settings import Settings, read_settings
from reelport.server.state import write_ahead
from reelport.server.state.database import connect, connected, open_database, reading, upgrade, writing
from reelport.server.state.revisions import REVISION
from reelport.server.state.sqlite_engine import execute_once_free
from reelport.server.state.tables import METADATA


@pytest.mark.filterwarnings("ignore:.*expression-based index")
def test_the_first_releases_state_gets_the_tables_that_the_code_knows(settings: Settings) -> None:
    """Tables, columns, keys and indexes are those of the metadata after the migrations since."""
    check_layout(settings.data)
    db = open_database(settings)
    with writing(db) as connection:
        create_first_tables(connection)
    upgrade(db)
    with db.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection), METADATA)
    db.dispose()
    assert found == []


def test_checks_of_the_migrations_are_those_of_a_new_state(tmp_path: Path) -> None:
    """Every statement that made the migrated SQLite, CHECK constraints included, is that of a new one."""
    new, first = (read_settings(data=tmp_path / name) for name in ("new", "first"))
    connect(new).dispose()
    first.data.mkdir()
    db = open_database(first)
    with writing(db) as connection:
        create_first_tables(connection)
    upgrade(db)
    db.dispose()

    def made(path: Path) -> dict[str, list[str]]:
        with closing(sqlite3.connect(path)) as state:
            statements = state.execute(_MADE).fetchall()
        return {name: _parts(sql) for name, sql in statements if name != "alembic_version"}

    assert made(first.state_file) == made(new.state_file)
    assert any("CHECK" in part for parts in made(new.state_file).values() for part in parts)


# The first tables are told as PostgreSQL takes them, whose triggers are others.
_MADE = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND type <> 'trigger'"


def _parts(statement: str) -> list[str]:
    """The columns and constraints of a statement in no order: SQLite appends a column that was added later."""
    words = re.sub(r"\s+", " ", statement.replace('"', ""))
    head, _, body = words.partition("(")
    return sorted([head.strip(), *(part.strip() for part in re.split(r",(?![^()]*\))", body.rpartition(")")[0]))])


@pytest.mark.parametrize(
    "broken",
    [
        "UPDATE reports SET status = 'DONE'",
        "UPDATE reports SET status = 'FINISHED'",
        "UPDATE reports SET status = 'FAILED'",
        "UPDATE jobs SET owner = 'w'",
        "UPDATE keys SET limited = 2",
        "DELETE FROM keys",
        "INSERT INTO jobs (report_id, organization_id, attempt, not_before) VALUES ('none', 1, 0, 0)",
    ],
)
def test_database_refuses_what_can_not_be(state: State, broken: str) -> None:
    """Both databases hold to the checks and the foreign keys themselves."""
    state.organization("demo")
    state.ask(state.caller(state.key("demo")))
    with pytest.raises(Exception, match=r"(?i)constraint"), writing(state.db) as connection:
        connection.execute(text(broken))


_PREPARED = """
import sys
from sqlalchemy import text
from reelport.server.state.database import open_database, reading, upgrade, writing
from reelport.server.state.revisions import read_revision
from reelport.server.settings import read_settings
db = open_database(read_settings())
with reading(db) as connection:
    read_revision(connection)
print("ready", flush=True)
sys.stdin.readline()
"""


def _at_once(settings: Settings, code: str) -> list[str]:
    """What four processes print that run the same code at the same moment: each is connected by then."""
    started = [
        forked.Popen(
            ["-c", _PREPARED + code],
            env={**os.environ, **settings.environment()},
            stdin=forked.PIPE,
            stdout=forked.PIPE,
            loads=forked.COMMANDS,
        )
        for _ in range(4)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=300)[0].strip() for process in started]
    assert [process.returncode for process in started] == [0] * 4
    return outputs


@pytest.mark.long
def test_processes_that_start_at_once_all_succeed(settings: Settings) -> None:
    """Four processes bring a new database up to date at the same moment, and none of them fails."""
    settings.data.mkdir(parents=True)
    code = """
upgrade(db)
with reading(db) as connection:
    print(read_revision(connection))
"""
    assert _at_once(settings, code) == [REVISION] * 4


def test_no_update_is_lost_between_processes(state: State) -> None:
    """What four processes read and then write in one transaction adds up."""
    with writing(state.db) as connection:
        connection.execute(text("INSERT INTO chores (name, due_at) VALUES ('count', 0)"))
    # SQLite has no row lock to ask for: there the transaction itself holds everyone else off.
    lock = "FOR UPDATE" if state.settings.database_url else ""
    code = f"""
for _ in range(20):
    with writing(db) as connection:
        found = connection.execute(text("SELECT due_at FROM chores {lock}")).scalar_one()
        connection.execute(text("UPDATE chores SET due_at = :next"), {{"next": found + 1}})
"""
    _at_once(state.settings, code)
    with reading(state.db) as connection:
        assert connection.execute(text("SELECT due_at FROM chores")).scalar() == 80


def test_reading_goes_on_while_another_writes(state: State) -> None:
    """A transaction that writes, and isn't at its end yet, holds up nobody who reads."""
    state.organization("demo")
    with writing(state.db) as writer:
        writer.execute(text("UPDATE organizations SET name = 'changed'"))
        with reading(state.db) as reader:
            assert reader.execute(text("SELECT name FROM organizations")).scalar() == "demo"
    assert [each.name for each in organizations.list_organizations(state.db)] == ["changed"]


def test_failed_transaction_leaves_nothing(state: State) -> None:
    """An error inside a transaction undoes all of it."""

    def half() -> None:
        with writing(state.db) as connection:
            connection.execute(text("INSERT INTO chores (name, due_at) VALUES ('half', 0)"))
            raise LookupError

    with pytest.raises(LookupError):
        half()
    with reading(state.db) as connection:
        assert connection.execute(text("SELECT count(*) FROM chores")).scalar() == 0


def test_newer_database_is_refused(settings: Settings) -> None:
    """A database that a later version has migrated is left alone."""
    db = connect(settings)
    with writing(db) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    db.dispose()
    with pytest.raises(NewerData, match="9999"):
        connect(settings)


@pytest.mark.parametrize("journal_mode", ["WAL", "DELETE"])
def test_newer_database_is_refused_beside_its_service(tmp_path: Path, journal_mode: str) -> None:
    """Whoever writes, and whichever journal that version took: what is told is to update, and not a lock."""
    settings = read_settings(data=tmp_path)
    db = connect(settings)
    with writing(db) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    db.dispose()
    with (
        closing(sqlite3.connect(settings.state_file, isolation_level=None)) as service,
        (tmp_path / "state.db-writer").open("rb") as lock,
    ):
        assert service.execute(f"PRAGMA journal_mode = {journal_mode}").fetchall() == [(journal_mode.lower(),)]
        service.execute("BEGIN IMMEDIATE")
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(NewerData, match=r"9999.*update Reelport"):
            connect(settings)


def test_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    """Rubbish under the name of the state is a clear error, and isn't kept open."""
    connect(read_settings(data=tmp_path)).dispose()
    file = tmp_path / "state.db"
    file.write_bytes(b"not a database, but long enough to look like one" * 100)
    with pytest.raises(StorageError, match="not a database") as refused:
        connect(read_settings(data=tmp_path))
    # Though the error is still held, with what it passed through.
    assert file not in {each.resolve() for each in Path("/proc/self/fd").iterdir()}, refused.tb


def test_unreachable_postgresql_is_told(tmp_path: Path) -> None:
    """A PostgreSQL that isn't there is a clear error, and its password is in no message."""
    with pytest.raises(StorageError) as refused:
        connect(read_settings(data=tmp_path, database_url="postgresql://me:hunter2@127.0.0.1:1/none"))
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("address", ["mysql://x/y", "nonsense", "sqlite:///x"])
def test_other_databases_are_refused(tmp_path: Path, address: str) -> None:
    """Only PostgreSQL is reached by address."""
    with pytest.raises(UsageError, match="REELPORT_DATABASE_URL"):
        connect(read_settings(data=tmp_path, database_url=address))


def test_write_ahead_log_only_on_a_local_file_system(tmp_path: Path) -> None:
    """The mount in which the state lies decides; of two on one folder the later, and none that is unknown."""
    table = tmp_path / "mountinfo"
    table.write_text(
        "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
        "40 22 0:35 / /srv rw - nfs4 host:/srv rw\n"
        "41 40 0:36 / /srv/my\\040disk rw - xfs /dev/vdb rw\n"
        "42 22 0:37 / /mnt rw - ext4 /dev/vdc rw\n"
        "43 22 0:38 / /mnt rw - fuse.sshfs host: rw\n"
    )
    kinds = {"/data": "ext4", "/srv/data": "nfs4", "/srv/my disk/data": "xfs", "/mnt/x": "fuse.sshfs", "/srvx": "ext4"}
    assert {path: write_ahead.detect_file_system(Path(path), table) for path in kinds} == kinds
    assert write_ahead.detect_file_system(Path("/data"), tmp_path / "none") == ""
    assert not write_ahead.LOCAL & {"nfs4", "fuse.sshfs", ""}
    assert {write_ahead.choose_journal(path).mode for path in (Path("/proc"), Path("/sys"))} == {"TRUNCATE"}


def test_sqlite_is_opened_durable(tmp_path: Path) -> None:
    """Every connection checks foreign keys, and uses the journal that is safe here: a log is synced by its writer."""
    db = connect(read_settings(data=tmp_path))
    with reading(db) as connection:
        names = ("synchronous", "foreign_keys", "journal_mode")
        asked = [connection.execute(text(f"PRAGMA {name}")).scalar() for name in names]
    journal = write_ahead.choose_journal(tmp_path)
    assert asked == [1 if journal.is_write_ahead else 2, 1, journal.mode.lower()]
    db.dispose()


def test_a_partner_alone_does_not_fill_a_worker() -> None:
    """By default a worker makes more reports at a time than one partner may have running: there is room for another."""
    plain = read_settings()
    assert plain.slots > plain.running_limit


def test_settings_are_handed_on_as_environment(tmp_path: Path) -> None:
    """A process that is started with the settings' environment reads the same settings."""
    settings = read_settings(
        data=tmp_path, secret="s" * 40, port=0, retention_hours=0.5, database_url="postgresql://x/y"
    )
    handed = settings.environment()
    assert {name: getattr(settings, name.removeprefix("REELPORT_").lower()) for name in handed}
    assert handed["REELPORT_SECRET"] == "s" * 40
    assert "s" * 40 not in repr(settings)
    assert (
        read_settings(**{name.removeprefix("REELPORT_").lower(): value for name, value in handed.items()}) == settings
    )


def test_the_tables_load_no_dialect_of_postgresql() -> None:
    """A command over SQLite would load it for nothing, as would every process of the service."""
    code = "import sys, reelport.server.state.tables; print('sqlalchemy.dialects.postgresql' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


_SWITCH = "PRAGMA journal_mode = WAL"


class _Witness(sqlite3.Connection):
    """A connection that frees the file of another one's lock when it was refused for the third time."""

    other: sqlite3.Connection
    refused = 0

    def execute(self, statement: str, *values: object) -> sqlite3.Cursor:
        try:
            return super().execute(statement, *values)  # type: ignore[arg-type]
        except sqlite3.OperationalError:
            self.refused += 1
            if self.refused == 3:
                self.other.rollback()
            raise


def _open_beside_a_writer(folder: Path) -> _Witness:
    path = folder / "state.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("CREATE TABLE made (number)")
    other.execute("BEGIN EXCLUSIVE")
    witness = sqlite3.connect(path, timeout=0, isolation_level=None, factory=_Witness)
    witness.other = other
    return witness


def test_a_statement_is_tried_again_until_no_other_connection_is_in_its_way(tmp_path: Path) -> None:
    witness = _open_beside_a_writer(tmp_path)
    with closing(witness), closing(witness.other):
        execute_once_free(witness, _SWITCH, 300)
        assert witness.refused == 3
        assert witness.execute("PRAGMA journal_mode").fetchall() == [("wal",)]


def test_a_statement_whose_time_is_over_fails_as_locked(tmp_path: Path) -> None:
    witness = _open_beside_a_writer(tmp_path)
    with closing(witness), closing(witness.other), pytest.raises(sqlite3.OperationalError, match="locked"):
        execute_once_free(witness, _SWITCH, 0)


def test_a_statement_that_is_wrong_is_not_tried_again(tmp_path: Path) -> None:
    witness = _open_beside_a_writer(tmp_path)
    with closing(witness), closing(witness.other), pytest.raises(sqlite3.OperationalError, match="syntax"):
        execute_once_free(witness, "PRAGMA journal_mode = = WAL", 300)
    assert witness.refused == 1


_FULL = r"The state database can't be used: the disk is full: make room\."


def test_a_full_disk_is_told_by_commands_and_goes_by(tmp_path: Path) -> None:
    """One that only reads needs room for the index of the log, and a running process to write."""
    with small_disk(tmp_path / "data", "8m") as disk:
        settings = read_settings(data=disk)
        connect(settings).dispose()
        filler = fill(disk)
        with pytest.raises(DiskFull, match=_FULL), connected(settings) as db, reading(db):
            pass
        filler.unlink()
        with connected(settings) as db:
            fill(disk)
            with pytest.raises(DiskFull, match=_FULL):
                _add_many(db)
            filler.unlink()
            organizations.add_organization(db, "one", NOW)


def _add_many(db: Engine) -> None:
    """Write until there is no room in the log either."""
    for number in range(1000):
        organizations.add_organization(db, f"more-{number}", NOW)
