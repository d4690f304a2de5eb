"""Reports compare files within so many bytes each, and over many reports all of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reelport.storage.digests import DigestCheck, FileDamaged, compute_digest
from reelport.storage.file_cache import note_use, used_at

SETPRIV = shutil.which("setpriv")
_BYTES = 2_000_000
"""What one check compares here."""


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file that three checks and a half compare."""
    path = tmp_path / "large"
    path.write_bytes(b"e" * (7 * _BYTES // 2))
    return path


@pytest.mark.parametrize("at", [0, -1])
def test_a_large_file_is_compared_over_several_reports(large: Path, at: int) -> None:
    """Each goes on where the one before ended; wherever a byte has rotted, the last of them tells."""
    digest, content = compute_digest(large), bytearray(large.read_bytes())
    content[at] = 0
    large.write_bytes(content)
    for _ in range(3):
        DigestCheck(_BYTES).require(large, digest)
    with pytest.raises(FileDamaged, match="large"):
        DigestCheck(_BYTES).require(large, digest)


def test_a_large_file_that_was_compared_takes_no_more_bytes(large: Path, tmp_path: Path) -> None:
    """The next reports compare what comes after it; of what exceeds their bytes they compare a part."""
    other = tmp_path / "other"
    other.write_bytes(b"o" * _BYTES)
    digest, other_digest = compute_digest(large), "0" * 64
    for _ in range(3):
        check = DigestCheck(_BYTES)
        check.require(large, digest)
        check.require(other, other_digest)
    check = DigestCheck(_BYTES)
    check.require(large, digest)
    check.require(other, other_digest)
    with pytest.raises(FileDamaged, match="other"):
        DigestCheck(_BYTES).require(other, other_digest)


def test_a_file_that_became_another_is_compared_anew(large: Path) -> None:
    """What was compared of its former bytes says nothing of those in its place."""
    DigestCheck(_BYTES).require(large, compute_digest(large))
    large.write_bytes(b"x" * _BYTES)
    DigestCheck(_BYTES).require(large, compute_digest(large))
    large.write_bytes(b"y" * (_BYTES - 1))
    with pytest.raises(FileDamaged, match="large"):
        DigestCheck(_BYTES).require(large, "0" * 64)


def test_a_file_that_was_written_in_place_is_compared_anew(large: Path) -> None:
    """It was proven, and neither its inode nor its size changed; a use since then has changed nothing of it."""
    digest = compute_digest(large)
    os.utime(large, (1, 1))
    for _ in range(4):
        DigestCheck(_BYTES).require(large, digest)
    note_use(large)
    DigestCheck(_BYTES).require(large, "not compared")
    with large.open("r+b") as file:
        file.write(b"x")
    for _ in range(3):
        DigestCheck(_BYTES).require(large, digest)
    with pytest.raises(FileDamaged, match="large"):
        DigestCheck(_BYTES).require(large, digest)


def test_a_comparison_is_no_use_of_a_file(large: Path) -> None:
    """Systems note the first access after a day: else a nightly `verify` makes files that nobody uses newest."""
    days_ago = time.time_ns() - 10 * 24 * 3600 * 10**9
    os.utime(large, ns=(days_ago, days_ago))
    compute_digest(large)
    assert used_at(large.stat()) == days_ago


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
