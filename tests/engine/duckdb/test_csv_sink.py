"""What the engine writes into a pipe becomes a file: all of it, hashed; and a disk that is full hangs nobody."""

from __future__ import annotations

import csv
import fcntl
import gc
import hashlib
import io
import os
import resource
import stat
import subprocess
import sys
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Event

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.patience import PATIENCE, until

from reelport.engine.duckdb.csv_sink import LineCounter, open_sink

LONG = bytes(range(256)) * 20_000
"""Five times what a pipe holds."""
NUMBERS = 500
"""More than a test has files open."""


def test_what_several_writers_wrote_is_one_file(tmp_path: Path) -> None:
    """One writer after the other, of much or of nothing: their bytes end to end, and the SHA-256 of them all."""
    parts = [b"header\n", LONG, b"", b"\xff\n"]
    with open_sink(tmp_path / "file", tmp_path, Event().set) as out:
        for part in parts:
            out.pipe.write_bytes(part)
    content = (tmp_path / "file").read_bytes()
    assert content == b"".join(parts)
    assert (out.bytes, out.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_many_long_files_are_written_at_once(tmp_path: Path) -> None:
    """Each has somebody who reads its pipe, however many of them there are; afterwards they read those of others."""
    for _ in range(2):
        with ExitStack() as stack:
            sinks = [stack.enter_context(open_sink(tmp_path / f"{n}", tmp_path, Event().set)) for n in range(20)]
            for out in sinks:
                out.pipe.write_bytes(LONG)
        assert {out.sha256 for out in sinks} == {hashlib.sha256(LONG).hexdigest()}


def test_short_files_need_no_more_threads_the_more_there_are(tmp_path: Path) -> None:
    """Whoever waits to read one, should it become long, waits for the next one afterwards."""
    for number in range(200):
        with open_sink(tmp_path / "file", tmp_path, Event().set) as out:
            out.pipe.write_bytes(b"%d" % number)
        assert (tmp_path / "file").read_bytes() == b"%d" % number
    assert sum(each.name == "csv-sink" for each in threading.enumerate()) < 100


def test_a_file_that_was_there_is_begun_anew(tmp_path: Path) -> None:
    """What an earlier attempt of the same name left is not under what comes."""
    (tmp_path / "file").write_bytes(LONG)
    with open_sink(tmp_path / "file", tmp_path, Event().set) as out:
        out.pipe.write_bytes(b"new")
    assert (tmp_path / "file").read_bytes() == b"new"


def test_a_full_disk_stops_the_writer_and_hangs_nobody(tmp_path: Path) -> None:
    """The writer is told at once, whatever it still writes is taken from it, and the error is the disk's."""
    told = Event()

    def write_on() -> None:
        with open_sink(Path("/dev/full"), tmp_path, told.set) as out:
            out.pipe.write_bytes(LONG)
            assert told.wait(PATIENCE)
            out.pipe.write_bytes(LONG)

    with pytest.raises(OSError, match="No space left"):
        write_on()
    assert list(tmp_path.iterdir()) == []


def test_a_writer_can_ask_whether_the_disk_is_full(tmp_path: Path) -> None:
    """Between two writers the error is there to be raised: the second need not begin."""
    told = Event()
    with pytest.raises(OSError, match="No space left"), open_sink(Path("/dev/full"), tmp_path, told.set) as out:  # noqa: PT012
        out.pipe.write_bytes(LONG)
        assert told.wait(PATIENCE)
        out.check()
        raise AssertionError("nobody said that the disk is full")


def test_an_error_of_the_writer_passes_and_leaves_no_pipe(tmp_path: Path) -> None:
    """Whatever ends the block, the file is closed and the pipe is gone."""
    with pytest.raises(KeyError), open_sink(tmp_path / "file", tmp_path, Event().set):
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_without_a_folder_for_the_pipe_nothing_hangs(tmp_path: Path) -> None:
    """Neither the file nor the pipe can be made: an OSError that names the place."""
    with pytest.raises(FileNotFoundError, match="none"), open_sink(tmp_path / "none" / "file", tmp_path, Event().set):
        pass
    with pytest.raises(FileNotFoundError, match="pipe"), open_sink(tmp_path / "file", tmp_path / "none", Event().set):
        pass


def test_what_passes_by_the_pipe_is_not_taken_for_written(tmp_path: Path) -> None:
    """Whoever removes the pipe lets the next writer make a file of that name: the outlet says so, and removes it."""

    def write_past() -> None:
        with open_sink(tmp_path / "file", tmp_path, Event().set) as out:
            out.pipe.write_bytes(b"in")
            out.pipe.unlink()
            out.pipe.write_bytes(b"past")

    with pytest.raises(FileExistsError, match="pipe"):
        write_past()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_nobody_reads_the_pipe_and_one_user_writes_it(tmp_path: Path) -> None:
    """Who read it would take bytes from the file, who wrote into it would add some: it is for writing by its user."""
    with open_sink(tmp_path / "file", tmp_path, Event().set) as out:
        assert stat.S_IMODE(out.pipe.stat().st_mode) == 0o200
        out.pipe.write_bytes(b"in")
    assert (tmp_path / "file").read_bytes() == b"in"


def test_a_pipe_that_went_away_is_told(tmp_path: Path) -> None:
    """Removed while nobody writes, it is missed at the end at the latest."""
    with pytest.raises(FileNotFoundError, match="pipe"), open_sink(tmp_path / "file", tmp_path, Event().set) as out:
        out.pipe.unlink()


@pytest.mark.parametrize("more", [0, 1, 2])
def test_too_many_open_files_leave_none_open(tmp_path: Path, more: int) -> None:
    """Wherever the system's limit is met on the way, all that was opened is closed again."""
    gc.collect()  # what other tests left open to be closed some time must not be closed meanwhile
    before = _open_numbers()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = sorted(set(range(NUMBERS)) - before)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[more], limits[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"), open_sink(tmp_path / "file", tmp_path, Event().set):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert _open_numbers() <= before


def _open_numbers() -> set[int]:
    """The numbers of this process's open files."""

    def is_open(number: int) -> bool:
        try:
            os.fstat(number)
        except OSError:
            return False
        return True

    return set(filter(is_open, range(NUMBERS)))


def test_a_writer_that_missed_the_news_of_a_full_disk_is_told_again(tmp_path: Path) -> None:
    """A second writer that begins though the disk is full hears of it as soon as it writes."""
    told = Event()
    with pytest.raises(OSError, match="No space left"), open_sink(Path("/dev/full"), tmp_path, told.set) as out:  # noqa: PT012
        out.pipe.write_bytes(LONG)
        assert told.wait(PATIENCE)
        told.clear()
        out.pipe.write_bytes(LONG)
        assert told.wait(PATIENCE)


def test_a_pipe_that_can_no_longer_be_read_is_told_and_hangs_nobody(tmp_path: Path) -> None:
    """A thread that fails to read leaves a short file: the block ends with the error, and the writer's pipe breaks."""
    told = Event()
    with pytest.raises(IsADirectoryError), open_sink(tmp_path / "file", tmp_path, told.set) as out:  # noqa: PT012
        out.pipe.write_bytes(LONG)
        with suppress(BrokenPipeError), out.pipe.open("wb", buffering=0) as writer:
            _put_a_folder_in_place_of_the_reading_end(out.pipe)
            for _ in range(2):
                writer.write(LONG)
        assert told.wait(PATIENCE)
        out.pipe.write_bytes(LONG)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def _put_a_folder_in_place_of_the_reading_end(pipe: Path) -> None:
    """Replace this process's descriptor that reads the pipe by one of a folder, which can't be read."""
    opened = [each for each in _open_numbers() if os.path.samestat(os.fstat(each), pipe.stat())]
    (reading,) = (each for each in opened if fcntl.fcntl(each, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY)
    folder = os.open(pipe.parent, os.O_RDONLY)
    os.dup2(folder, reading, inheritable=False)
    os.close(folder)


LAST = """
import sys, threading
from pathlib import Path
from reelport.engine.duckdb.csv_sink import open_sink

def write():
    threading.main_thread().join()
    with open_sink(Path(sys.argv[1]), Path(sys.argv[2]), print) as out:
        out.pipe.write_bytes(bytes(80 << 20))

threading.Thread(target=write).start()
"""


def test_where_no_thread_is_to_be_had_for_syncing_the_file_is_written(tmp_path: Path) -> None:
    """A process whose main thread has ended starts no more threads of that kind: nobody hangs, nothing is missing."""
    command: list[str | Path] = [sys.executable, "-c", LAST, tmp_path / "file", tmp_path]
    assert subprocess.run(command, check=True, timeout=300, capture_output=True).stdout == b""
    assert (tmp_path / "file").stat().st_size == 80 << 20


@given(cells=st.lists(st.text('a",\n', max_size=6), min_size=1, max_size=30), sizes=st.lists(st.integers(1, 9)))
def test_lines_are_counted_as_csv_has_them(cells: list[str], sizes: list[int]) -> None:
    """Line ends and quotes within cells are none of a row, wherever the bytes were cut when they were read."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_MINIMAL).writerows([cell, "x"] for cell in cells)
    data, counter = text.getvalue().encode(), LineCounter()
    for size in [*sizes, len(data)]:
        counter.add(data[:size])
        data = data[size:]
    assert counter.lines == len(cells)


def test_of_a_long_file_the_lines_are_known_while_it_is_written(tmp_path: Path) -> None:
    """Beyond the first megabytes by their length."""
    lines = [b"%08d\n" % number for number in range(2_000_000)]
    with open_sink(tmp_path / "file", tmp_path, Event().set) as out:
        assert out.lines == 0
        with out.pipe.open("wb") as pipe:
            pipe.writelines(lines)
            pipe.flush()
            assert until(lambda: out.lines > 1_900_000)
        assert out.lines <= len(lines)
    assert out.bytes == 9 * len(lines)
