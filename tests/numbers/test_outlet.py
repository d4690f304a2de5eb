"""What the engine writes into a pipe becomes a file: all of it, hashed; and a disk that is full hangs nobody."""

from __future__ import annotations

import hashlib
from pathlib import Path
from threading import Event

import pytest

from reelport.engine.outlet import outlet

LONG = bytes(range(256)) * 20_000
"""Five times what a pipe holds."""


def test_what_several_writers_wrote_is_one_file(tmp_path: Path) -> None:
    """One writer after the other, of much or of nothing: their bytes end to end, and the SHA-256 of them all."""
    parts = [b"header\n", LONG, b"", b"\xff\n"]
    with outlet(tmp_path / "file", tmp_path, Event().set) as out:
        for part in parts:
            out.pipe.write_bytes(part)
    content = (tmp_path / "file").read_bytes()
    assert content == b"".join(parts)
    assert (out.bytes, out.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_that_was_there_is_begun_anew(tmp_path: Path) -> None:
    """What an earlier attempt of the same name left is not under what comes."""
    (tmp_path / "file").write_bytes(LONG)
    with outlet(tmp_path / "file", tmp_path, Event().set) as out:
        out.pipe.write_bytes(b"new")
    assert (tmp_path / "file").read_bytes() == b"new"


def test_a_full_disk_stops_the_writer_and_hangs_nobody(tmp_path: Path) -> None:
    """The writer is told at once, whatever it still writes is taken from it, and the error is the disk's."""
    told = Event()

    def write_on() -> None:
        with outlet(Path("/dev/full"), tmp_path, told.set) as out:
            out.pipe.write_bytes(LONG)
            assert told.wait(5)
            out.pipe.write_bytes(LONG)

    with pytest.raises(OSError, match="No space left"):
        write_on()
    assert list(tmp_path.iterdir()) == []


def test_a_writer_can_ask_whether_the_disk_is_full(tmp_path: Path) -> None:
    """Between two writers the error is there to be raised: the second need not begin."""
    told = Event()
    with pytest.raises(OSError, match="No space left"), outlet(Path("/dev/full"), tmp_path, told.set) as out:  # noqa: PT012
        out.pipe.write_bytes(LONG)
        assert told.wait(5)
        out.check()
        raise AssertionError("nobody said that the disk is full")


def test_an_error_of_the_writer_passes_and_leaves_no_pipe(tmp_path: Path) -> None:
    """Whatever ends the block, the file is closed and the pipe is gone."""
    with pytest.raises(KeyError), outlet(tmp_path / "file", tmp_path, Event().set):
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_without_a_folder_for_the_pipe_nothing_hangs(tmp_path: Path) -> None:
    """Neither the file nor the pipe can be made: an OSError that names the place."""
    with pytest.raises(FileNotFoundError, match="none"), outlet(tmp_path / "none" / "file", tmp_path, Event().set):
        pass
    with pytest.raises(FileNotFoundError), outlet(tmp_path / "file", tmp_path / "none", Event().set):
        pass
