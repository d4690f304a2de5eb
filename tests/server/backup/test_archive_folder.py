"""Which folders are archives: new and empty ones, and those with a marker."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.server.backup.conftest import Desk

from reelport.errors import NewerData, StorageError, UsageError
from reelport.server.backup.archive import MARKER, Archive

MANIFEST = "2026-11-27T02-00-00.000Z.json"


@pytest.fixture(params=["sqlite"])
def kind(request: pytest.FixtureRequest) -> str:
    """The archive is the same with either database."""
    return str(request.param)


def write(root: Path, *names: str) -> None:
    """Write files below a folder; a name that ends with a slash is a folder."""
    for name in names:
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("mine")


def list_all(root: Path) -> dict[str, bytes | None]:
    """Everything below a folder, with its bytes."""
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None for path in sorted(root.rglob("*"))
    }


@pytest.mark.parametrize(
    ("names", "named"),
    [
        (["backups/", "work/sub/p2", "readme"], "readme"),
        (["backups/", "objects/ab/cdef"], "backups"),
        ([f"backups/{MANIFEST}", "objects/"], "backups"),
        (["backups"], "backups"),
        (["work/"], "work"),
        (["lock"], "lock"),
        ([f"{MARKER}.part"], f"{MARKER}.part"),
    ],
)
def test_a_folder_that_only_looks_like_an_archive_is_refused_and_stays(
    tmp_path: Path, names: list[str], named: str
) -> None:
    """The sentence names what is in the way; nothing is deleted, and nothing is made."""
    root = tmp_path / "mix"
    root.mkdir()
    write(root, *names)
    before = list_all(root)
    with pytest.raises(UsageError) as refused, Archive(root).writing():
        pass
    assert str(refused.value) == f"{root} holds something else ({named}): name an empty or a new folder."
    assert list_all(root) == before


def test_the_folder_above_an_archive_is_refused_and_the_archive_named(backed_up: Desk) -> None:
    """`reelport backup .` beside `backups`."""
    above = backed_up.folder / "above"
    shutil.copytree(backed_up.archive.root, above / "backups")
    before = list_all(above)
    said = rf"{above}/backups is an archive: did you mean that one\?"
    with pytest.raises(UsageError, match=said), Archive(above).writing():
        pass
    assert list_all(above) == before


def test_an_archive_of_which_only_the_marker_was_made_is_used(tmp_path: Path) -> None:
    """Whoever makes it may be killed at any moment, also while the marker is written."""
    for number, name in enumerate([MARKER, f"{MARKER}.0123456789ab.part"]):
        root = tmp_path / str(number)
        write(root, name)
        (root / name).write_text('{"archive": 1}')
        with Archive(root).writing():
            assert json.loads((root / MARKER).read_bytes()) == {"archive": 1}


def test_a_backup_deletes_only_its_own_folders_for_work(desk: Desk) -> None:
    """Files and folders of others in an archive stay, and stop no backup."""
    desk.back_up()
    names = ["work/p", "work/sub/p2", "objects/p", "objects/p.part", "backups/p"]
    write(desk.archive.root, *names, "work/reelport-abc_1234/left")
    desk.back_up(1)
    desk.archive.prune(1)
    assert all((desk.archive.root / name).read_text() == "mine" for name in names)
    assert not (desk.archive.root / "work" / "reelport-abc_1234").exists()


def test_a_file_in_the_place_of_an_archives_folder_is_named(tmp_path: Path) -> None:
    """And stays."""
    for name in ("backups", "objects", "work"):
        root = tmp_path / name
        write(root, name)
        (root / MARKER).write_text('{"archive": 1}')
        said = f"{root}/{name} should be a folder of the archive, and is none"
        with pytest.raises(UsageError, match=said), Archive(root).writing():
            pass
        assert (root / name).read_text() == "mine"


def test_a_marker_of_a_newer_release_or_of_nobody_is_refused(tmp_path: Path) -> None:
    """Nothing is made beside it."""
    (tmp_path / MARKER).write_text('{"archive": 99}')
    with pytest.raises(NewerData, match="newer version of Reelport"), Archive(tmp_path).writing():
        pass
    for text in ("", "[]", "{}", "5", '{"archive": "x"}'):
        (tmp_path / MARKER).write_text(text)
        with pytest.raises(StorageError, match=f"{MARKER} is damaged"), Archive(tmp_path).writing():
            pass
    assert [path.name for path in tmp_path.iterdir()] == [MARKER]
