"""What is true of the local folder alone: its modes, its disk, and files that a library writes into it."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.disks import small_disk

from reelport.errors import DiskFull, StorageError
from reelport.storage.file_store import read_file
from reelport.storage.local_folder import LocalFolder


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
