"""The file of a write-ahead log: how threads share its syncs, and what a failed one means for those after it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from tests.disks import failing_disk, fill
from tests.patience import PATIENCE, until
from tests.server.syncs import no_sync

from reelport.errors import StorageError
from reelport.server.events import Event, Kind, publish, subscribe
from reelport.server.settings import Settings, read_settings
from reelport.server.state.database import connected, reading, sync_commits, writing
from reelport.server.state.write_ahead import LogFile

_PUT = text("INSERT INTO chores (name, due_at) VALUES (:name, 1)")
_NAMES = text("SELECT name FROM chores ORDER BY name")


class Disk:
    """Syncs like the system, each when it is let go; `broken` are the numbers of those that fail."""

    def __init__(self, *broken: int) -> None:
        self._numbers = count(1)
        self._gates = [threading.Event() for _ in range(10)]
        self._broken = broken
        self.begun = 0

    def let_go(self, *numbers: int) -> None:
        """Let these syncs end."""
        for number in numbers:
            self._gates[number].set()

    def sync(self, descriptor: int) -> None:
        """Sync the file of a descriptor, or fail."""
        self.begun = number = next(self._numbers)
        assert self._gates[number].wait(PATIENCE)
        if number in self._broken:
            raise OSError(5, os.strerror(5))
        os.fdatasync(descriptor)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log."""
    file = tmp_path / "state.db-wal"
    file.write_bytes(b"frames")
    return file


def test_who_comes_during_a_sync_shares_the_next_one(path: Path) -> None:
    """It may have written too late for the one that runs; and it waits for no later one."""
    disk = Disk()
    log = LogFile(path, disk.sync)
    with ThreadPoolExecutor(12) as threads:

        def submit(number: int, known: int) -> list[Future[None]]:
            submitted = [threads.submit(log.sync) for _ in range(number)]
            assert until(lambda: log._asked == known)  # noqa: SLF001 - nothing else tells of who waits
            return submitted

        first = submit(1, 1)
        assert until(lambda: disk.begun == 1)
        together = submit(10, 11)
        disk.let_go(1)
        assert until(lambda: disk.begun == 2)
        last = submit(1, 12)
        assert not any(each.done() for each in together)
        disk.let_go(2)
        for each in first + together:
            each.result(PATIENCE)
        assert until(lambda: disk.begun == 3)
        assert not last[0].done()
        assert len(_find_descriptors(path)) == 1
        disk.let_go(3)
        last[0].result(PATIENCE)
    assert disk.begun == 3


def test_a_sync_that_fails_fails_those_beside_it_and_after_it(path: Path) -> None:
    """The system calls the lost frames written: until the log is emptied nothing behind them is believed."""
    disk = Disk(1)
    log = LogFile(path, disk.sync)
    with ThreadPoolExecutor(2) as threads:
        failing = threads.submit(log.sync)
        assert until(lambda: disk.begun == 1)
        beside = threads.submit(log.sync)
        disk.let_go(1, 2)
        with pytest.raises(StorageError, match="wal"):
            failing.result(PATIENCE)
        with pytest.raises(StorageError, match="wal"):
            beside.result(PATIENCE)
    disk.let_go(3)
    with pytest.raises(StorageError, match="wal"):
        log.sync()
    disk.let_go(4)
    log.trust_emptied(log.failures)
    disk.let_go(5)
    log.sync()


def test_a_failure_during_the_copy_is_not_forgotten(path: Path) -> None:
    """The copy is of what was known when it began."""
    log = LogFile(path)
    log.doubt()
    known = log.failures
    log.doubt()
    log.trust_emptied(known)
    with pytest.raises(StorageError, match="wal"):
        log.sync()


def test_another_log_is_opened_and_the_former_one_closed(path: Path) -> None:
    """Of a log that is there a descriptor stays open, of one that was removed none."""
    log = LogFile(path)
    found = [_find_descriptors(path)]
    log.watch()
    found.append(_find_descriptors(path))
    path.rename(path.with_name("former"))
    log.watch()
    found.append(_find_descriptors(path.with_name("former")))
    path.write_bytes(b"others")
    log.watch()
    found.append(_find_descriptors(path))
    log.close()
    found.append(_find_descriptors(path))
    assert [len(each) for each in found] == [0, 1, 0, 1, 0]


def test_an_error_that_another_was_told_of_fails_the_next_sync(tmp_path: Path) -> None:
    """Nothing behind a hole in the log is answered: the log is copied into the state, and all is as before."""
    with failing_disk(tmp_path) as (disk, room):
        local = read_settings(data=disk / "data")
        log = local.state_file.with_name("state.db-wal")
        with connected(local) as db:
            _put(db, "first")
            filler = fill(room)
            _put_early(db, "x" * 4_000_000)
            with log.open("rb") as other, pytest.raises(OSError, match="No space"):
                os.fdatasync(other.fileno())
            for _ in range(2):
                with pytest.raises(StorageError, match="wal"):
                    sync_commits(db)
            with pytest.raises(StorageError, match="wal: the disk is full"):
                _put(db, "behind the hole")
            filler.unlink()
            with reading(db) as state:
                assert len(state.execute(_NAMES).all()) == 2
                with pytest.raises(StorageError, match="try again"):
                    _put(db, "beside a reader of the log")
            with closing(sqlite3.connect(local.state_file)) as idle:
                idle.execute(_NAMES.text).fetchall()
                _put(db, "later")
                _put_early(db, "y" * 3_000_000)
                sync_commits(db)
                assert _read_disk(local, tmp_path / "kept") == ["first", "later", "xxxxx", "yyyyy"]


def test_an_error_that_a_checkpoint_meets_is_not_forgotten(tmp_path: Path) -> None:
    """Its connection was told, and would sync the next commit, which lies behind the hole."""
    with failing_disk(tmp_path) as (disk, room):
        local = read_settings(data=disk / "data")
        with connected(local) as first:
            _put(first, "first")
            with connected(local) as db:
                filler = fill(room)
                _put_early(db, "x" * 4_000_000)  # the first commit of an engine is followed by a checkpoint
                filler.unlink()
                _put(db, "later")
                assert _read_disk(local, tmp_path / "kept") == ["first", "later", "xxxxx"]


def test_an_error_of_a_writers_sync_is_one_of_the_log(tmp_path: Path) -> None:
    """What others committed before without a sync may be lost with it; an error of the work itself says nothing."""
    with failing_disk(tmp_path) as (disk, room), connected(read_settings(data=disk / "data")) as db:
        with pytest.raises(StorageError, match="of the facts"), writing(db):
            raise StorageError("an error of the facts")
        sync_commits(db)
        filler = fill(room)
        with pytest.raises(StorageError, match="wal: the disk is full"):
            _put(db, "x" * 4_000_000)
        with pytest.raises(StorageError, match="wal"):
            sync_commits(db)
        filler.unlink()
        _put(db, "later")
        sync_commits(db)


def test_a_write_is_announced_once_it_is_on_the_disk(tmp_path: Path) -> None:
    """Its commit syncs nothing, so that others can write meanwhile; its event and the end of its block wait."""
    local = read_settings(data=tmp_path / "data")
    with connected(local) as db, subscribe(db, Kind.REPORT_ENDED) as events, ExitStack() as broken:

        def write_early() -> None:
            with writing(db) as connection:
                connection.execute(_PUT, {"name": "early"})
                publish(connection, Event(Kind.REPORT_ENDED, "early"))
                broken.enter_context(no_sync(local))

        with pytest.raises(StorageError, match="wal"):
            write_early()
        with reading(db) as state:
            assert state.execute(_NAMES).scalars().all() == ["early"]
        broken.close()
        with writing(db) as connection:
            publish(connection, Event(Kind.REPORT_ENDED, "next"))
        assert [event.subject for event in events.wait()] == ["next"]


def _put(db: Engine, name: str) -> None:
    with writing(db) as connection:
        connection.execute(_PUT, {"name": name})


def _put_early(db: Engine, name: str) -> None:
    with writing(db, synced=False) as connection:
        connection.execute(_PUT, {"name": name})


def _read_disk(settings: Settings, copy: Path) -> list[str]:
    """The names, in short, that the end of the machine would leave: it drops pages in memory."""
    copy.mkdir()
    for name in ("state.db", "state.db-wal"):
        file = settings.data / name
        with file.open("rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        shutil.copy(file, copy)
    with closing(sqlite3.connect(copy / "state.db")) as alone:
        assert alone.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [name[:5] for (name,) in alone.execute(_NAMES.text)]


def _find_descriptors(path: Path) -> list[Path]:
    """The descriptors of this process by which a file is open."""
    return [each for each in Path("/proc/self/fd").iterdir() if each.is_symlink() and _read_link(each) == path]


def _read_link(descriptor: Path) -> Path | None:
    try:
        return descriptor.readlink()
    except FileNotFoundError:  # that of the listing itself
        return None
