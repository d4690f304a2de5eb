"""A long file is synced while it is written, and no failure of that is lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reelport.write_behind import BackgroundSync

LONG = 64 << 20


def test_a_sync_that_fails_is_told_to_who_writes_on(tmp_path: Path) -> None:
    """The system tells of a lost write once: whoever is told must say it."""
    descriptor = os.open(tmp_path / "file", os.O_CREAT | os.O_WRONLY)
    os.close(descriptor)
    ahead = BackgroundSync(descriptor)
    ahead.count_written(LONG)
    with pytest.raises(OSError, match="Bad file descriptor"):
        ahead.wait()
    ahead.wait()


def test_a_short_file_is_left_to_its_end() -> None:
    """Less than 64 MB costs no thread and no sync: a descriptor that is none is not touched."""
    ahead = BackgroundSync(-1)
    for _ in range(63):
        ahead.count_written(1 << 20)
    ahead.wait()
