"""What is said of a state on a disk that is full: SQLite itself speaks of errors of the disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine
from tests.disks import fill, small_disk
from tests.server.conftest import NOW

from reelport.errors import DiskFull
from reelport.server.access import organizations
from reelport.server.settings import read_settings
from reelport.server.state.database import connect, connected, reading

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
