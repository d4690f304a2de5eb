"""What in an archive's folder is a backup's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.server.backup.conftest import Desk

from reelport.errors import StorageError
from reelport.server.backup.kept_backups import Archive

pytestmark = pytest.mark.long


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
        with pytest.raises(StorageError, match=f"{root}"), Archive(root).writing():
            pass
        assert (root / name).read_text() == "mine"
