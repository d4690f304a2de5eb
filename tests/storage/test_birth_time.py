"""A file's time of birth is its own: it outlives all changes, and a copy has another."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from reelport.storage.birth_time import read_birth_time


def test_a_birth_time_outlives_changes_and_no_copy_has_it(tmp_path: Path) -> None:
    """Written to, with other rights and another name it is the same file; a copy with all that `cp -a` keeps isn't."""
    file = tmp_path / "file"
    file.write_text("1")
    born = read_birth_time(file)
    if born is None:
        pytest.skip("this file system doesn't tell a file's time of birth")
    file.write_text("2")
    file.chmod(0o600)
    moved = file.rename(tmp_path / "moved")
    assert read_birth_time(moved) == born
    assert read_birth_time(Path(shutil.copy2(moved, tmp_path / "copy"))) != born


def test_where_none_is_told_there_is_none(tmp_path: Path) -> None:
    """The system's own files have no time of birth; a file that isn't there is an error."""
    assert read_birth_time(Path("/proc/self/stat")) is None
    with pytest.raises(FileNotFoundError, match="none"):
        read_birth_time(tmp_path / "none")
