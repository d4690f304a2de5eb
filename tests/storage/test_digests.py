"""Reports compare files within so many bytes each, and over several reports all that are no larger."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reelport.storage.digests import DigestCheck, FileDamaged, compute_digest
from reelport.storage.file_cache import note_use, used_at

SETPRIV = shutil.which("setpriv")
_BYTES = 2_000_000
"""What one check compares here."""


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file of which one check compares no second one."""
    path = tmp_path / "large"
    path.write_bytes(b"e" * (3 * _BYTES // 4))
    return path


@pytest.mark.parametrize("at", [0, -1])
def test_a_rotten_byte_is_found_wherever_it_is(large: Path, at: int) -> None:
    digest, content = compute_digest(large), bytearray(large.read_bytes())
    content[at] = 0
    large.write_bytes(content)
    with pytest.raises(FileDamaged, match="large"):
        DigestCheck(_BYTES).require(large, digest)


def test_what_exceeds_one_report_is_compared_by_the_next(large: Path, tmp_path: Path) -> None:
    """A file that was compared takes no more bytes; one that is larger than all of them is never compared."""
    other, larger = tmp_path / "other", tmp_path / "larger"
    other.write_bytes(b"o" * (_BYTES // 2))
    larger.write_bytes(b"l" * (_BYTES + 1))
    digest = compute_digest(large)
    check = DigestCheck(_BYTES)
    check.require(larger, "0" * 64)
    check.require(large, digest)
    check.require(other, "0" * 64)
    check = DigestCheck(_BYTES)
    check.require(large, digest)
    with pytest.raises(FileDamaged, match="other"):
        check.require(other, "0" * 64)


def test_a_file_that_became_another_is_compared_anew(large: Path) -> None:
    """What was compared of its former bytes says nothing of those in its place."""
    DigestCheck(_BYTES).require(large, compute_digest(large))
    large.write_bytes(b"x" * (_BYTES // 2))
    DigestCheck(_BYTES).require(large, compute_digest(large))
    large.write_bytes(b"y" * (_BYTES // 2 - 1))
    with pytest.raises(FileDamaged, match="large"):
        DigestCheck(_BYTES).require(large, "0" * 64)


def test_a_file_that_was_written_in_place_is_compared_anew(large: Path) -> None:
    """It was proven, and neither its inode nor its size changed; a use since then has changed nothing of it."""
    digest = compute_digest(large)
    os.utime(large, (1, 1))
    DigestCheck(_BYTES).require(large, digest)
    note_use(large)
    DigestCheck(_BYTES).require(large, "not compared")
    with large.open("r+b") as file:
        file.write(b"x")
    with pytest.raises(FileDamaged, match="large"):
        DigestCheck(_BYTES).require(large, digest)


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
