"""The room that a restore asks for, after one that did not come to its end."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.disks import fill, remount, small_disk
from tests.server.backup.conftest import Desk

from reelport.errors import UsageError
from reelport.facts import layout
from reelport.server.backup.restore import restore_backup


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_what_an_unfinished_restore_left_takes_no_room_from_the_next(backed_up: Desk) -> None:
    """It is deleted first; what isn't its own is not, and counts."""
    made, place = backed_up.archive.read(), backed_up.place()
    with small_disk(backed_up.folder / "small", "1m") as small:
        new = replace(place, data=small / "new")
        new.data.mkdir()
        layout.begin_restore(new.data, "a restore that was killed")
        new.facts_root.mkdir()
        foreign = fill(small)
        with pytest.raises(UsageError, match=r"new has 0 bytes of room, and the backup needs [\d,]+\."):
            restore_backup(backed_up.archive, made, new, check_secret=False)
        foreign.unlink()
        remount(small, f"size={2 * _count_bytes(backed_up)}")
        left = fill(new.facts_root)
        assert left.stat().st_size > 0
        restore_backup(backed_up.archive, made, new, check_secret=False)
        layout.check_existing(new.data)


def _count_bytes(desk: Desk) -> int:
    """The bytes of the archive's objects."""
    return sum(path.stat().st_size for path in desk.archive.root.rglob("*") if path.is_file())
