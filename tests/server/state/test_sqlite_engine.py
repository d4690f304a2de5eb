"""A SQLite file for the state: the lock of its one writer, and what is said of a disk that is full."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine
from tests.disks import fill, small_disk
from tests.server.conftest import NOW

from reelport.errors import DiskFull
from reelport.server.access import organizations
from reelport.server.settings import read_settings
from reelport.server.state.database import connect, connected, reading
from reelport.server.state.sqlite_engine import execute_once_free

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
