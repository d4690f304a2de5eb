"""Tables are known by their marks: none that is lost, or another's, is taken for an empty one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from reelport.errors import StorageError
from reelport.facts.loading.load import load
from reelport.facts.loading.verification import verify
from reelport.facts.log import table_marks
from reelport.facts.log.log_files import find_newest_commit
from reelport.facts.log.snapshot import ABSENT, newest_versions, pin
from reelport.facts.log.table_marks import FOLDER, IDENTITY, RECORD, identify_tables, note_table, restore_identity

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
        patch.setattr(table_marks, "find_newest_commit", find_late)
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
