"""Dumps of a SQLite state."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.disks import remount, small_disk
from tests.server.conftest import NOW

from reelport.server.access import organizations
from reelport.server.backup.state_dump import dump_state
from reelport.server.settings import read_settings
from reelport.server.state.database import connected


def test_a_state_on_a_read_only_disk_is_dumped(tmp_path: Path) -> None:
    """As a snapshot that is mounted: SQLite would make files beside a state that has a write-ahead log."""
    with small_disk(tmp_path / "data", "8m") as disk:
        settings = read_settings(data=disk)
        with connected(settings) as db:
            organizations.add_organization(db, "one", NOW)
        remount(disk, "ro")
        dump_state(settings, tmp_path / "dump.db")
    with closing(sqlite3.connect(tmp_path / "dump.db")) as dump:
        assert dump.execute("SELECT name FROM organizations").fetchall() == [("one",)]
