"""Local folders alone: modes, disk, times of birth, folders that go with their process; and how digests compare."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.disks import small_disk

from reelport.errors import DiskFull, StorageError
from reelport.server.files.store_owner import read_birth_time
from reelport.storage.digests import DigestCheck, FileDamaged, compute_digest
from reelport.storage.file_cache import note_use, used_at
from reelport.storage.file_store import read_file
from reelport.storage.local_folder import LocalFolder
from reelport.storage.locked_folders import open_scratch_folder


def test_files_and_their_folders_are_private(tmp_path: Path) -> None:
    """Without any block of the caller's."""
    LocalFolder(tmp_path / "files").put("log/one", b"x")
    paths = [tmp_path / "files" / name for name in ("", "log", "log/one")]
    assert [stat.S_IMODE(path.stat().st_mode) & 0o077 for path in paths] == [0, 0, 0]


def test_a_file_whose_name_is_no_text_is_listed_and_deleted(tmp_path: Path) -> None:
    """Anybody may have put one there, from an archive for one: its bytes are not UTF-8."""
    store, name = LocalFolder(tmp_path), os.fsdecode(b"caf\xe9.csv")
    store.put("a.csv", b"")
    (tmp_path / name).touch()
    assert sorted(store.list_names()) == sorted(file.name for file in store.list()) == ["a.csv", name]
    assert list(store.list_names(after="b.csv")) == [name]
    store.delete(name)
    assert list(store.list_names()) == ["a.csv"]


def test_a_folder_whose_disk_is_away_is_not_begun_anew(tmp_path: Path) -> None:
    """Where not even its parent is there, nothing is made: its files would hide those of the disk."""
    store = LocalFolder(tmp_path / "disk" / "files")
    with pytest.raises(StorageError, match="disk"):
        store.put("one", b"x")
    with pytest.raises(StorageError, match="disk"):
        store.prepare_draft("one.part")
    with pytest.raises(StorageError, match="is its disk there"):
        store.open("one")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    """It is told as what it is, and neither half a file nor a draft stays."""
    with small_disk(tmp_path / "files", "64k") as disk:
        store = LocalFolder(disk)
        store.put("one", b"first")
        with pytest.raises(DiskFull, match="make room"):
            store.put("one", b"x" * 100_000)
        assert (read_file(store, "one"), list(store.list_names())) == (b"first", ["one"])


def test_what_a_library_wrote_must_be_there_to_be_durable(tmp_path: Path) -> None:
    """A file that is missing is an error, whatever other files are made durable."""
    store = LocalFolder(tmp_path)
    (tmp_path / "one").write_bytes(b"x")
    store.sync("one")
    with pytest.raises(StorageError, match="two"):
        store.sync("one", "two")


def test_a_folder_signs_no_link(tmp_path: Path) -> None:
    """The service serves its files."""
    store = LocalFolder(tmp_path)
    store.put("one", b"x")
    assert store.sign("one", datetime.now(UTC)) is None


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


SETPRIV = shutil.which("setpriv")
_BYTES = 2_000_000
"""What one check compares here."""


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file of which one check compares no second one."""
    path = tmp_path / "large"
    path.write_bytes(b"e" * (3 * _BYTES // 4))
    return path


@pytest.mark.parametrize("at", [0, -1])
def test_a_rotten_byte_is_found_wherever_it_is(large: Path, at: int) -> None:
    digest, content = compute_digest(large), bytearray(large.read_bytes())
    content[at] = 0
    large.write_bytes(content)
    with pytest.raises(FileDamaged, match="large"):
        DigestCheck(_BYTES).require(large, digest)


def test_what_exceeds_one_report_is_compared_by_the_next(large: Path, tmp_path: Path) -> None:
    """A file that was compared takes no more bytes; one that is larger than all of them is never compared."""
    other, larger = tmp_path / "other", tmp_path / "larger"
    other.write_bytes(b"o" * (_BYTES // 2))
    larger.write_bytes(b"l" * (_BYTES + 1))
    digest = compute_digest(large)
    check = DigestCheck(_BYTES)
    check.require(larger, "0" * 64)
    check.require(large, digest)
    check.require(other, "0" * 64)
    check = DigestCheck(_BYTES)
    check.require(large, digest)
    with pytest.raises(FileDamaged, match="other"):
        check.require(other, "0" * 64)


def test_a_file_that_became_another_is_compared_anew(large: Path) -> None:
    """What was compared of its former bytes says nothing of those in its place."""
    DigestCheck(_BYTES).require(large, compute_digest(large))
    large.write_bytes(b"x" * (_BYTES // 2))
    DigestCheck(_BYTES).require(large, compute_digest(large))
    large.write_bytes(b"y" * (_BYTES // 2 - 1))
    with pytest.raises(FileDamaged, match="large"):
        DigestCheck(_BYTES).require(large, "0" * 64)


def test_a_file_that_was_written_in_place_is_compared_anew(large: Path) -> None:
    """It was proven, and neither its inode nor its size changed; a use since then has changed nothing of it."""
    digest = compute_digest(large)
    os.utime(large, (1, 1))
    DigestCheck(_BYTES).require(large, digest)
    note_use(large)
    DigestCheck(_BYTES).require(large, "not compared")
    with large.open("r+b") as file:
        file.write(b"x")
    with pytest.raises(FileDamaged, match="large"):
        DigestCheck(_BYTES).require(large, digest)


@pytest.mark.skipif(os.geteuid() != 0 or SETPRIV is None, reason="only root gives files away")
def test_the_use_of_a_file_of_somebody_else_is_noted(large: Path) -> None:
    """A volume may belong to another user, and its group write to its files, but set no times of them."""
    os.chown(large, 12_345, -1)
    os.utime(large, (1, 1))
    note = f"from pathlib import Path; from reelport.storage.file_cache import note_use; note_use(Path({str(large)!r}))"
    subprocess.run([str(SETPRIV), "--bounding-set=-fowner", sys.executable, "-c", note], check=True)
    assert used_at(large.stat()) > 10**9


def test_no_bytes_compare_nothing(large: Path) -> None:
    """Nor is a file compared that has no digest, or is gone."""
    DigestCheck(0).require(large, "0" * 64)
    DigestCheck(10 * _BYTES).require(large, None)
    DigestCheck(10 * _BYTES).require(large.with_name("none"), "0" * 64)
