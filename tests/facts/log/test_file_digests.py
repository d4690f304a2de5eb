"""Digests of files are read from the newest commits back, as far as the files need."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from tests.rotten_files import flip_bit

from reelport.errors import StorageError
from reelport.facts.loading.load import load_arrow
from reelport.facts.log.delta_log import TableVersion, read_newest, require_intact
from reelport.facts.log.log_files import commit_name
from reelport.facts.tables import TABLES
from reelport.storage.digests import FileDamaged

COMMITS = 40


@pytest.fixture(scope="module")
def now(tmp_path_factory: pytest.TempPathFactory) -> TableVersion:
    """A table of a month file for each of many commits; its files in the order of their commits."""
    root = tmp_path_factory.mktemp("digests") / "facts"
    known: list[str] = []
    for number in range(COMMITS):
        row = {"started_at": f"2026-01-05T05:00:{number:02}", "owner_channel_id": "c1", "video_id": "v", "views": 1}
        load_arrow(
            root,
            "plays",
            pa.Table.from_pylist([{**row, "media_type": "video", "time_watched_seconds": 1}]),
            f"b{number}",
        )
        known += {file.path for file in read_newest(root, TABLES["plays"]).files} - set(known)
    found = read_newest(root, TABLES["plays"])
    files = tuple(sorted(found.files, key=lambda file: known.index(file.path)))
    return TableVersion(found.table, found.folder, found.version, files, found.delta)


def test_a_files_digest_is_found_without_the_commits_before_it(now: TableVersion) -> None:
    """Each is a request to an object store: those before a file's own are read for older files alone."""
    oldest = now.folder / commit_name(0)
    kept = oldest.rename(oldest.with_suffix(".away"))
    require_intact(now, now.files[-1:])
    with pytest.raises(StorageError, match="commit 0 is gone"):
        require_intact(now, now.files)
    kept.rename(oldest)
    require_intact(now, now.files)


@pytest.mark.parametrize("place", [0, COMMITS // 2, -1])
def test_a_damaged_file_is_found_wherever_its_commit_lies(now: TableVersion, place: int) -> None:
    """The oldest commit's digest counts as the newest's."""
    path: Path = now.path(now.files[place])
    whole = path.read_bytes()
    flip_bit(path, 80)
    with pytest.raises(FileDamaged):
        require_intact(now, [now.files[place]])
    path.write_bytes(whole)
    require_intact(now, [now.files[place]])
