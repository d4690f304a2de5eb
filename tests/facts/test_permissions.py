"""Facts that can't be written: what changes them says so in one plain sentence, and what reads them reads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.cases import thin_out
from tests.disks import remount, small_disk, without_override

from reelport.errors import StorageError
from reelport.facts.layout import check_layout
from reelport.facts.loading.load import load
from reelport.storage.durable import translate_io_errors

pytestmark = pytest.mark.long


def reelport(data: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A command over a data directory, in a process that permissions bind."""
    command = without_override([sys.executable, "-m", "reelport", *words, "--data", str(data)])
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def load_earnings(data: Path, folder: Path) -> str:
    """Load two rows of earnings of two days; the name of their batch."""
    check_layout(data)
    path = folder / "e.csv"
    path.write_text("day,owner_channel_id,eur,usd\n2023-07-01,c1,1,1\n2023-07-02,c2,1,1\n")
    return load(data / "facts", "earnings", [path]).batch


@pytest.mark.parametrize("closed", thin_out(["channels", "channels/_delta_log"], 2))
def test_an_undo_without_permission_ends_in_one_plain_sentence(tmp_path: Path, closed: str) -> None:
    """It names the folder and whose it is, also where a library was refused, without what colours a terminal."""
    data = tmp_path / "data"
    check_layout(data)
    path, folder = tmp_path / "c.csv", data / "facts" / closed
    for slug in ("one", "two"):
        path.write_text(f"id,slug\nc1,{slug}\n")
        batch = load(data / "facts", "channels", [path]).batch
    folder.chmod(0o555)
    done = reelport(data, "load", "undo", batch, "--yes")
    folder.chmod(0o755)
    assert done.returncode == 1
    assert done.stderr.startswith(f"reelport: {data / 'facts' / 'channels'}")
    assert f"permission denied: {folder} is the user {folder.owner()}'s" in done.stderr
    assert done.stderr.rstrip("\n").isprintable()
    assert "os error" not in done.stderr


@pytest.mark.parametrize(
    ("closed", "mode", "words"),
    thin_out(
        [
            ("data/facts/.work", 0o300, ["compact"]),
            ("data/facts", 0o300, ["sample", "--start", "2026-01-01", "--end", "2026-01-01"]),
            ("scratch", 0o500, ["upgrade", "--check", "--scratch"]),
        ],
        2,
    ),
)
def test_a_folder_that_cant_be_locked_ends_a_command_in_one_plain_sentence(
    tmp_path: Path, closed: str, mode: int, words: list[str]
) -> None:
    """It names the folder and whose it is, and says what to do."""
    load_earnings(tmp_path / "data", tmp_path)
    assert reelport(tmp_path / "data", "org", "add", "acme").returncode == 0
    folder = tmp_path / closed
    folder.mkdir(exist_ok=True)
    folder.chmod(mode)
    done = reelport(tmp_path / "data", *words, *([str(folder)] if "--scratch" in words else []))
    folder.chmod(0o700)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
    assert f"permission denied: {folder} is the user {folder.owner()}'s" in done.stderr


def test_an_unknown_refusal_of_a_library_has_no_escapes(tmp_path: Path) -> None:
    """What a library draws for a terminal becomes one line; a number of the operating system becomes its words."""
    for said, told in (
        ("Generic error\n   \x1b[31m↳\x1b[0m something odd", "Generic error something odd"),
        ("Generic error\n   \x1b[31m↳\x1b[0m Is a directory (os error 21)", "is a directory"),
        ("Generic error\n   \x1b[31m↳\x1b[0m Read-only file system (os error 30)", "the file system is read-only"),
    ):
        with pytest.raises(StorageError) as refused, translate_io_errors(tmp_path):
            raise OSError(said)
        assert str(refused.value).startswith(f"{tmp_path}: {told}")
        assert str(refused.value).isprintable()


def test_a_group_reader_sees_who_is_paid(tmp_path: Path) -> None:
    """`payees` only reads: it works for a user who may not write the facts, and leaves nothing among them."""
    data = tmp_path / "data"
    load_earnings(data, tmp_path)
    for folder in (data / "facts" / ".work", data / "facts"):
        folder.chmod(0o555)
    done = reelport(data, "payees")
    for folder in (data / "facts" / ".work", data / "facts"):
        folder.chmod(0o755)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].split() == ["total", "2", "2.000000", "2.000000"]


def test_a_read_only_disk_is_read_and_its_undo_refused(tmp_path: Path) -> None:
    """On a read-only file system `payees` answers, and `load undo` shows its plan and says what to do."""
    with small_disk(tmp_path / "disk", "50m") as disk:
        batch = load_earnings(disk / "data", tmp_path)
        remount(disk, "ro")
        assert reelport(disk / "data", "payees").returncode == 0
        done = reelport(disk / "data", "load", "undo", batch, "--yes")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "the file system is read-only: mount it for writing too" in done.stderr
