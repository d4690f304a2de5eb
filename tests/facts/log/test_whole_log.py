"""What is read from a log's newest commits back, digests of files too, is what its whole text tells."""

from __future__ import annotations

import random
import shutil
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from tests.cases import thin_out
from tests.facts.log.small_log import load_days
from tests.rotten_files import flip_bit, rotten

from reelport.errors import StorageError, UsageError
from reelport.facts.loading.compaction import compact, vacuum
from reelport.facts.loading.load import load_arrow
from reelport.facts.loading.undo import undo_load
from reelport.facts.log.delta_log import TableVersion, list_files, open_table, read_newest, require_intact
from reelport.facts.log.freshness import find_last_load
from reelport.facts.log.history import list_loads, read_history, read_restated
from reelport.facts.log.log_entry import merge_spans
from reelport.facts.log.log_files import commit_name, find_newest_commit, list_commits
from reelport.facts.tables import EARNINGS, TABLES
from reelport.storage.digests import FileDamaged

DAYS = range(1, 13)
"""Of July 2023."""
STEPS = 16


def change(root: Path, chance: random.Random, number: int) -> None:
    """Do one thing to the table that changes it, or could."""
    batch = f"b{chance.choice([number, chance.randrange(6)])}"
    low, high = sorted(chance.sample(DAYS, 2))
    match chance.choice(["load", "load", "replace", "replace", "undo", "undo", "compact", "vacuum"]):
        case "load":
            load_days(root, EARNINGS, batch, sorted(chance.sample(DAYS, 2)))
        case "replace":
            filled = [day for day in range(low, high + 1) if day == low or chance.random() < 0.3]
            load_days(root, EARNINGS, batch, filled, (date(2023, 7, low), date(2023, 7, high)))
        case "undo" if standing := [load for load in list_loads(root, EARNINGS.name) if not load.undone]:
            with suppress(UsageError):  # a later load changed the same rows, or they were vacuumed
                undo_load(root, chance.choice(standing[-3:]))
        case "compact":
            compact(root, today=date(2023, 7, 15), settled_after=2)
        case "vacuum":
            vacuum(root, now=datetime.now(UTC) + timedelta(days=chance.choice([0, 30])))
        case _:
            pass


def pin_version(root: Path, version: int) -> TableVersion:
    folder = root / EARNINGS.name
    delta = open_table(folder, version)
    assert delta is not None
    return TableVersion(EARNINGS, folder, version, list_files(delta, EARNINGS), delta)


def check_loads(now: TableVersion) -> None:
    """Hold the last load and the restated days against the whole history."""
    standing = [load for load in read_history(now) if not load.undone]
    last = find_last_load(now.folder, now.version)
    assert (last and last.version) == (standing[-1].version if standing else None)
    spans = [load.replaced for load in standing if load.replaced is not None]
    assert read_restated(now.folder, EARNINGS, now.version) == merge_spans(spans)


def check_digests(now: TableVersion, chance: random.Random) -> None:
    """Each file is known to be whole, and one of which a bit has changed is known to be damaged."""
    require_intact(now, now.files)
    for file in now.files[:: chance.randint(1, 4)]:
        with rotten(now.path(file), 80), pytest.raises(FileDamaged):
            require_intact(now, [file])


@pytest.fixture(scope="module")
def long_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table with more commits than are read at once."""
    root = tmp_path_factory.mktemp("long") / "facts"
    load_days(root, EARNINGS, "none of the last days", DAYS, (date(2023, 7, 1), date(2023, 7, 31)))
    for number in range(40):
        load_days(root, EARNINGS, f"early {number}", [DAYS[number % 6]])
    return root


@pytest.mark.parametrize("seed", thin_out(range(3), 3))
def test_the_newest_commits_tell_what_the_whole_log_tells(long_log: Path, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - the same steps each time
    root = shutil.copytree(long_log, tmp_path / "facts")
    for number in range(STEPS):
        change(root, chance, number)
        newest = read_newest(root, EARNINGS)
        assert find_newest_commit(newest.folder) == newest.version == max(list_commits(newest.store))
        for version in (newest.version, chance.randint(30, newest.version)):
            check_loads(pin_version(root, version))
        check_digests(newest, chance)


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
