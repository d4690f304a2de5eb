"""Dumps of a state: what they need of the disk, and what they leave there."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from tests.disks import fill, remount, small_disk
from tests.patience import until
from tests.server.conftest import NOW, State

from reelport.errors import DiskFull
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


_DUMP = """
import sys
from pathlib import Path
from reelport.server.backup.state_dump import dump_state
from reelport.server.settings import read_settings
dump_state(read_settings(data=Path(sys.argv[1]), database_url=sys.argv[2]), Path(sys.argv[3]))
"""
_WAITING = """
SELECT 1 FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'pg_dump' AND wait_event_type = 'Lock'
"""


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_killed_dump_leaves_no_file_with_the_password(state: State, tmp_path: Path) -> None:
    """Nor does it lie in one before, nor in the words of pg_dump, which every user of the machine sees."""
    address, temporary = state.settings.database_url, tmp_path / "temporary"
    with_password = address.replace("@", ":kept-apart@")
    temporary.mkdir()
    words = [sys.executable, "-c", _DUMP, str(state.settings.data), with_password, str(tmp_path / "killed")]
    with psycopg.connect(address) as blocker, psycopg.connect(address, autocommit=True) as watcher:
        blocker.execute("LOCK TABLE organizations")
        with subprocess.Popen(words, env=os.environ | {"TMPDIR": str(temporary)}) as dump:
            try:
                assert until(lambda: watcher.execute(_WAITING).fetchone() or dump.poll() is not None)
                assert list(temporary.iterdir()) == []
                (pg_dump,) = Path(f"/proc/{dump.pid}/task/{dump.pid}/children").read_text().split()
                assert b"kept-apart" not in Path(f"/proc/{pg_dump}/cmdline").read_bytes()
            finally:
                dump.kill()
        assert list(temporary.iterdir()) == []
    dump_state(replace(state.settings, database_url=with_password), tmp_path / "whole")
    assert (tmp_path / "whole").read_bytes().startswith(b"PGDMP")


def test_the_disk_that_is_full_is_told_and_not_the_states(tmp_path: Path) -> None:
    """An operator makes room where the archive is."""
    settings = read_settings(data=tmp_path / "data")
    with connected(settings), small_disk(tmp_path / "archive", "64k") as archive:
        fill(archive)
        with pytest.raises(DiskFull, match=rf"^{archive / 'dump.db'}: the disk is full: make room$"):
            dump_state(settings, archive / "dump.db")
