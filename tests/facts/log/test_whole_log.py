"""A log read from its newest commits back tells what its whole text does; no lost or foreign table is an empty one."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from tests.cases import thin_out
from tests.fact_rows import make_plays
from tests.facts.log.small_log import load_days
from tests.rotten_files import flip_bit, rotten

from reelport.errors import StorageError, UsageError
from reelport.facts.loading.compaction import compact
from reelport.facts.loading.load import load, load_arrow
from reelport.facts.loading.undo import undo_load
from reelport.facts.loading.vacuum import vacuum
from reelport.facts.loading.verification import verify
from reelport.facts.log import table_identity
from reelport.facts.log.delta_log import TableVersion, list_files, open_table, read_newest, require_intact
from reelport.facts.log.history import find_last_load, list_loads, read_history, read_restated
from reelport.facts.log.log_entry import merge_spans
from reelport.facts.log.log_files import commit_name, find_newest_commit, list_commits
from reelport.facts.log.snapshot import ABSENT, newest_versions, pin
from reelport.facts.log.table_identity import FOLDER, IDENTITY, RECORD, identify_tables, note_table, restore_identity
from reelport.facts.tables import EARNINGS, TABLES
from reelport.storage.digests import FileDamaged

pytestmark = pytest.mark.long

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
        load_arrow(root, "plays", make_plays([(f"2026-01-05T05:00:{number:02}", 1)]), f"b{number}")
        known += {file.path for file in read_newest(root, TABLES["plays"]).files} - set(known)
    found = read_newest(root, TABLES["plays"])
    files = tuple(sorted(found.files, key=lambda file: known.index(file.path)))
    return TableVersion(found.table, found.folder, found.version, files, found.delta)


def test_a_files_digest_is_found_without_the_commits_before_it(now: TableVersion) -> None:
    """Each is a request to an object store: those before a file's own are read for older files alone."""
    oldest = now.folder / commit_name(1)
    kept = oldest.rename(oldest.with_suffix(".away"))
    require_intact(now, now.files[-1:])
    with pytest.raises(StorageError, match="commit 1 is gone"):
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


Write = Callable[..., Path]
PLAY = ("2023-07-01T05:00", "v1", "c1", 1)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory whose tables have nothing in them yet."""
    made = tmp_path / "data"
    made.mkdir()
    return made


def test_tables_get_an_identity_once_that_the_data_directory_records(data: Path) -> None:
    """Who only looks makes none."""
    root = data / "facts"
    assert identify_tables(data, root) is None
    assert not root.exists()
    made = identify_tables(data, root, make=True)
    assert made
    assert identify_tables(data, root) == identify_tables(data, root, make=True) == made
    assert (data / RECORD).read_text() == (root / FOLDER / IDENTITY).read_text() == f"{made}\n"


def test_a_machine_that_comes_later_takes_the_identity_that_is_there(data: Path, tmp_path: Path) -> None:
    root, other = data / "facts", tmp_path / "other"
    other.mkdir()
    made = identify_tables(data, root, make=True)
    assert identify_tables(other, root, make=True) == made
    assert (other / RECORD).exists()


@pytest.mark.parametrize("make", [False, True])
def test_other_tables_than_those_that_were_used_are_refused(data: Path, tmp_path: Path, make: bool) -> None:
    """And so are none at all: reports would be empty. The sentence says what to do if it is meant."""
    made = identify_tables(data, data / "facts", make=True)
    elsewhere = tmp_path / "elsewhere"
    with pytest.raises(StorageError, match=f"identity is missing.* write {made} into that file"):
        identify_tables(data, elsewhere, make=make)
    assert not elsewhere.exists()
    (tmp_path / "third").mkdir()
    theirs = identify_tables(tmp_path / "third", elsewhere, make=True)
    with pytest.raises(StorageError, match=f"are others: .*identity says {theirs}"):
        identify_tables(data, elsewhere, make=make)
    (elsewhere / FOLDER / IDENTITY).write_text(f"{made}\n")
    assert identify_tables(data, elsewhere, make=make) == made


def test_a_table_that_is_lost_is_told_and_not_read_as_empty(data: Path, plays: Write) -> None:
    """By reports, loads and `verify`; a table that was never made is empty as before."""
    root = data / "facts"
    load(root, "plays", [plays("a.csv", PLAY)])
    assert (newest_versions(root)["plays"], newest_versions(root)["ads"]) == (1, ABSENT)
    shutil.move(root / "plays", root / "away")
    for work in (
        lambda: newest_versions(root),
        lambda: pin(root, ["plays"]),
        lambda: load(root, "plays", [plays("b.csv", PLAY)]),
    ):
        with pytest.raises(StorageError, match="plays is missing: the table was there"):
            work()
    (finding,) = [finding for table in verify(root) for finding in table.findings]
    assert finding.startswith(f"{root / 'plays'} is missing: the table was there, and reports would be empty.")
    assert pin(root, ["ads"]).versions == {"ads": ABSENT}
    shutil.move(root / "away", root / "plays")
    assert newest_versions(root)["plays"] == 1
    shutil.rmtree(root / "plays")
    (root / FOLDER / "plays").unlink()
    assert newest_versions(root)["plays"] == ABSENT


def test_restored_tables_are_those_that_they_were(data: Path) -> None:
    root = data / "facts"
    restore_identity(data, root, "ab12", ["plays"])
    assert identify_tables(data, root) == "ab12"
    with pytest.raises(StorageError, match="plays is missing"):
        newest_versions(root)


def test_what_the_state_knows_puts_a_wrong_record_right(data: Path, tmp_path: Path) -> None:
    """One start with a wrong address must not keep the right one out, nor leave anything where it leads."""
    right, wrong, first = data / "facts", tmp_path / "wrong", tmp_path / "first"
    first.mkdir()
    known = identify_tables(first, right, make=True)
    with pytest.raises(StorageError, match=f"the state knows are not there.* write {known} into"):
        identify_tables(data, wrong, make=True, known=known)
    assert not wrong.exists()
    assert not (data / RECORD).exists()
    (data / RECORD).write_text("wrong\n")
    with pytest.raises(StorageError, match=f"If a wrong address was used here before, delete {data / RECORD}"):
        identify_tables(data, right)
    assert identify_tables(data, right, make=True, known=known) == known
    assert identify_tables(data, right) == known


def test_a_table_that_is_made_at_this_moment_is_not_missing(root: Path, plays: Write) -> None:
    """Its mark may be seen by who has listed its log a moment before; the log is listed again."""
    load(root, "plays", [plays("a.csv", PLAY)])
    listed = list[int]()

    def find_late(folder: Path) -> int | None:
        listed.append(1)
        return None if len(listed) == 1 else find_newest_commit(folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_identity, "find_newest_commit", find_late)
        assert newest_versions(root)["plays"] == 1


def test_a_mark_that_cant_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_text("")
    with pytest.raises(StorageError, match=FOLDER):
        note_table(tmp_path, "plays")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_marks_that_root_makes_belong_to_the_owner_of_the_data_directory(data: Path) -> None:
    """The service runs as that user, and reads them for its own start and before reports."""
    root = data / "facts"
    os.chown(data, 4321, 4322)
    identify_tables(data, root, make=True)
    note_table(root, "plays")
    made = [root, root / FOLDER, root / FOLDER / IDENTITY, root / FOLDER / "plays", data / RECORD]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(4321, 4322)}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_restored_marks_belong_to_the_owner_of_the_tables(data: Path) -> None:
    """Whose folder is there already, and stays whose it is."""
    root = data / "facts"
    root.mkdir()
    os.chown(root, 4321, 4322)
    restore_identity(data, root, "ab12", ["plays"])
    made = [root, *(root / FOLDER).iterdir(), root / FOLDER]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(4321, 4322)}
