"""The rows of an object table, read without an engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.facts.conftest import remote_tables

from reelport.errors import StorageError
from reelport.facts.loading.object_rows import Row, merge_rows
from reelport.facts.log.delta_log import read_newest
from reelport.facts.log.log_files import attach_tables
from reelport.facts.log.object_reader import read_rows
from reelport.facts.log.snapshot import pin
from reelport.facts.tables import CHANNELS
from reelport.storage.file_cache import FileCache

ROWS: list[Row] = [
    {"id": "9", "slug": "nine", "name": "", "account_id": None},
    {"id": "\U0001f534", "slug": "ééé" * 30, "name": 'a "name"\n🔴', "account_id": "a"},
]


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    """Of the newest version alone; an empty text isn't none, and none stays none."""
    merge_rows(tmp_path, CHANNELS, [{**ROWS[0], "slug": "old"}], "first")
    merge_rows(tmp_path, CHANNELS, ROWS, "second")
    assert sorted(read_rows(tmp_path, CHANNELS), key=lambda row: row["id"]) == ROWS


def test_a_table_that_nothing_was_loaded_into_has_no_rows(tmp_path: Path) -> None:
    """Neither where there is no folder of it, nor an error."""
    assert read_rows(tmp_path, CHANNELS) == []


@pytest.mark.parametrize("is_gone", [True, False], ids=["gone", "damaged"])
def test_a_table_whose_file_cannot_be_read_is_named(tmp_path: Path, is_gone: bool) -> None:
    """With what to do about it; no row is made up."""
    merge_rows(tmp_path, CHANNELS, ROWS, "first")
    now = read_newest(tmp_path, CHANNELS)
    file = now.path(now.files[0])
    if is_gone:
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(StorageError, match=r"channels: .*; run reelport verify$"):
        read_rows(tmp_path, CHANNELS)


def test_a_damaged_file_of_the_cache_is_named(object_server: str, tmp_path: Path) -> None:
    """It is read without the library of the log."""
    assert object_server
    root = tmp_path / "facts"
    attach_tables(root, replace(remote_tables(root), cache=FileCache(tmp_path / "cache", 10**9, "facts/")))
    merge_rows(root, CHANNELS, ROWS, "first")
    path = Path(pin(root, ["channels"]).files("channels")[0])
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(StorageError, match=f"^{path} can't be read: .*; run reelport verify$"):
        read_rows(root, CHANNELS)
