"""Folders for a while: those of killed processes go, and nobody else's."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reelport.storage.locked_folders import open_scratch_folder

_HOLD = """
import sys
from pathlib import Path
from reelport.storage.locked_folders import open_scratch_folder
with open_scratch_folder("try-", Path(sys.argv[1])) as folder:
    (folder / "file").write_text("kept")
    print(folder, flush=True)
    sys.stdin.read()
"""


def _hold(around: Path) -> tuple[subprocess.Popen[str], Path]:
    """Start a process that holds a folder, and wait until it does."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", _HOLD, str(around)], stdin=pipe, stdout=pipe, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_a_killed_processs_folder_goes_and_a_living_ones_stays(tmp_path: Path) -> None:
    """The next folder of the prefix clears what no process holds."""
    living, held = _hold(tmp_path)
    killed, left = _hold(tmp_path)
    killed.kill()
    killed.communicate()
    assert left.is_dir()
    with open_scratch_folder("try-", tmp_path) as folder:
        assert set(tmp_path.iterdir()) == {folder, held}
    living.communicate("")
    assert not list(tmp_path.iterdir())


def test_what_is_no_dead_folder_of_ours_stays(tmp_path: Path) -> None:
    """A file, a link to a folder and a folder of another name are left alone."""
    around = tmp_path / "around"
    (around / "other-1").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (around / "try-link").symlink_to(tmp_path / "elsewhere")
    (around / "try-file").write_text("")
    before = set(around.iterdir())
    with open_scratch_folder("try-", around):
        pass
    assert set(around.iterdir()) == before
    assert (tmp_path / "elsewhere").is_dir()


@pytest.mark.skipif(os.geteuid() != 0, reason="another user's folder can be made by root alone")
def test_another_users_folder_stays(tmp_path: Path) -> None:
    """Nobody else's folder is deleted."""
    theirs = tmp_path / "try-1"
    theirs.mkdir()
    os.chown(theirs, 12345, -1)
    with open_scratch_folder("try-", tmp_path):
        pass
    assert theirs.is_dir()


def test_a_folder_whose_process_died_before_it_had_its_name_goes(tmp_path: Path) -> None:
    """An hour later: one that was made just now may be locked next."""
    old, new = tmp_path / ".try-old", tmp_path / ".try-new"
    for folder in (old, new):
        folder.mkdir()
    (old / "file").write_text("left")
    hour_ago = time.time() - 3601
    os.utime(old, (hour_ago, hour_ago))
    with open_scratch_folder("try-", tmp_path):
        assert (old.exists(), new.exists()) == (False, True)
