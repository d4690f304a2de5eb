"""The write-ahead log: what keeps commits whole in it, whoever writes, reads, dies or replaces files."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from tests import forked
from tests.disks import read_only_view, small_disk
from tests.forked import run_child
from tests.patience import until
from tests.server.conftest import NOW
from tests.server.syncs import count_syncs

from reelport.errors import StorageError
from reelport.server.access import organizations
from reelport.server.settings import Settings, read_settings
from reelport.server.state.database import (
    connect,
    connected,
    open_database,
    reading,
    require_room,
    sync_commits,
    writing,
)
from reelport.server.state.sqlite_engine import BUSY_SECONDS
from reelport.server.state.write_ahead import CHECKPOINT_COMMITS, WriteAheadLog

_PUT = text("INSERT INTO chores (name, due_at) VALUES (:name, 1)")
_NAMES = text("SELECT name FROM chores ORDER BY name")


@pytest.fixture
def local(tmp_path: Path) -> Settings:
    """Settings of a state on a local file system, where the log is used."""
    return read_settings(data=tmp_path / "data")


def put(db: Engine, name: str) -> None:
    """Commit one row."""
    with writing(db) as connection:
        connection.execute(_PUT, {"name": name})


def names(db: Engine) -> list[str]:
    """The names of all rows that are committed."""
    with reading(db) as connection:
        return list(connection.execute(_NAMES).scalars())


def test_no_connection_checkpoints_by_itself(local: Settings) -> None:
    """A checkpoint beside a commit is what SQLite's race needs: only whoever holds the lock may make one."""
    with connected(local) as db, reading(db) as one, reading(db) as two:
        asked = [each.execute(text("PRAGMA wal_autocheckpoint")).scalar() for each in (one, two)]
    assert asked == [0, 0]


def test_a_writer_waits_for_the_lock_of_another_process(local: Settings) -> None:
    """Neither a commit nor a checkpoint begins while the lock is held, though SQLite's own is free."""
    with connected(local) as db, connected(local) as other, ThreadPoolExecutor(1) as thread:
        began = threading.Event()

        def write_then() -> None:
            began.set()
            put(db, "second")

        with WriteAheadLog(local.state_file, 30).hold(other):
            done = thread.submit(write_then)
            assert began.wait(300)
            with closing(sqlite3.connect(local.state_file, isolation_level=None)) as foreign:
                foreign.execute("INSERT INTO chores (name, due_at) VALUES ('first', 1)")
            assert names(other) == ["first"]
            assert not done.done()
        done.result()
        assert names(other) == ["first", "second"]


def test_a_lock_that_is_never_let_go_is_told(local: Settings) -> None:
    """A process that is frozen within a transaction keeps others waiting for a limited time; they learn which file."""
    with (
        connected(local) as db,
        WriteAheadLog(local.state_file, 30).hold(db),
        pytest.raises(StorageError, match=r"another process has kept .*state.db-writer locked"),
        WriteAheadLog(local.state_file, 0).hold(db),
    ):
        pass


def test_all_that_wait_for_a_lock_are_told_at_the_same_time(local: Settings) -> None:
    """The threads of a process take turns, but none of them waits as long again after the one before."""
    waiting = WriteAheadLog(local.state_file, 1)

    def measure_wait(_: int) -> float:
        began = time.monotonic()
        with pytest.raises(StorageError, match="another process"), waiting.hold(db):
            pass
        return time.monotonic() - began

    with connected(local) as db, WriteAheadLog(local.state_file, 30).hold(db), ThreadPoolExecutor(10) as threads:
        waits = list(threads.map(measure_wait, range(10)))
    assert max(waits) < 5 * min(waits)


def test_the_log_begins_anew_now_and_then(local: Settings) -> None:
    """It doesn't grow with the commits, and what was in it is in the state file."""
    log = local.state_file.with_name("state.db-wal")
    with connected(local) as db:
        sizes = []
        for number in range(4 * CHECKPOINT_COMMITS):
            put(db, f"{number:04}")
            sizes.append(log.stat().st_size)
        assert sizes[-1] < 3 * sizes[CHECKPOINT_COMMITS - 1]
        shutil.copy(local.state_file, local.data / "alone.db")
        with closing(sqlite3.connect(local.data / "alone.db")) as alone:
            (kept,) = alone.execute("SELECT count(*) FROM chores").fetchone()
        assert kept >= 3 * CHECKPOINT_COMMITS


def test_a_long_read_keeps_its_snapshot_and_fails_no_commit(local: Settings) -> None:
    """A checkpoint that can't be whole beside a reader, as a backup, is made later."""
    log = local.state_file.with_name("state.db-wal")
    with connected(local) as db:
        with reading(db) as connection:
            assert connection.execute(_NAMES).scalars().all() == []
            for number in range(CHECKPOINT_COMMITS + 1):
                put(db, f"{number:04}")
            assert connection.execute(_NAMES).scalars().all() == []
        assert log.stat().st_size > 0
        for number in range(CHECKPOINT_COMMITS):
            put(db, f"{number:04} more")
        assert len(names(db)) == 2 * CHECKPOINT_COMMITS + 1
        with closing(sqlite3.connect(f"{local.state_file.as_uri()}?immutable=1", uri=True)) as alone:
            assert alone.execute("SELECT count(*) FROM chores").fetchone()[0] > CHECKPOINT_COMMITS


def test_writers_wait_for_the_disk_unless_their_commit_may_be_lost_with_the_machine(local: Settings) -> None:
    """Each syncs once; what was copied into the state has no log that could be synced."""

    def put_unsynced() -> None:
        with writing(db, synced=False) as connection:
            connection.execute(_PUT, {"name": "may be lost"})

    with connected(local) as db:
        assert count_syncs(lambda: put(db, "one")) == 1
        assert count_syncs(put_unsynced) == 0
        assert count_syncs(lambda: put(db, "two")) == 1
        assert count_syncs(lambda: sync_commits(db)) == 1
    sync_commits(db)
    assert not local.state_file.with_name("state.db-wal").exists()


def test_a_log_that_cannot_be_synced_fails_the_write(local: Settings) -> None:
    """It is told as a fault of the storage, like a commit that fails."""
    log = local.state_file.with_name("state.db-wal")
    with connected(local) as db:
        put(db, "first")
        log.rename(log.with_name("elsewhere"))
        log.symlink_to(log)
        with pytest.raises(StorageError, match="wal"):
            sync_commits(db)
        log.unlink()
        log.with_name("elsewhere").rename(log)
        sync_commits(db)
        assert names(db) == ["first"]


_WRITE = """
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from sqlalchemy import text
from reelport.server.settings import read_settings
from reelport.server.state.database import open_database, writing
db = open_database(read_settings())
put = text("INSERT INTO chores (name, due_at) VALUES (:name, 1)")
def go(thread):
    for number in count():
        name = f"{sys.argv[1]}-{thread}-{number}"
        with writing(db) as connection:
            connection.execute(put, {"name": name})
        sys.stdout.write(f"{name}\\n")
        sys.stdout.flush()
with ThreadPoolExecutor(4) as threads:
    list(threads.map(go, range(4)))
"""


def test_what_was_answered_outlives_kills_of_two_processes(local: Settings) -> None:
    """Two processes commit in batches, and checkpoint, until both are killed: every answered row is there, once."""
    connect(local).dispose()
    started = [
        forked.Popen(
            ["-c", _WRITE, name],
            env={**os.environ, **local.environment()},
            stdout=forked.PIPE,
            loads=forked.COMMANDS,
        )
        for name in "ab"
    ]
    answered: list[str] = []
    for process in started:
        assert process.stdout is not None
        answered += [process.stdout.readline().strip() for _ in range(3 * CHECKPOINT_COMMITS)]
    for process in started:
        process.send_signal(signal.SIGKILL)
    for process in started:
        lines = process.communicate(timeout=300)[0].split("\n")
        answered += lines[:-1]  # the last one may be half a line
    with connected(local) as db, reading(db) as connection:
        kept = connection.execute(_NAMES).scalars().all()
        assert connection.execute(text("PRAGMA integrity_check")).scalar() == "ok"
    assert set(answered) <= set(kept)
    assert len(kept) == len(set(kept))


def _die_with_a_log(local: Settings) -> None:
    """Leave a state whose process was killed with commits in its log."""
    code = (
        "import os, signal\n"
        "from reelport.server.settings import read_settings\n"
        "from reelport.server.state.database import connect\n"
        "from datetime import UTC, datetime\n"
        "from reelport.server.access import organizations\n"
        "db = connect(read_settings())\n"
        "for name in ('one', 'two'):\n"
        "    organizations.add_organization(db, name, datetime.now(UTC))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    forked.run(["-c", code], env={**os.environ, **local.environment()}, loads=forked.COMMANDS)


def test_a_log_that_a_replaced_state_left_is_set_aside(local: Settings) -> None:
    """SQLite would take its commits for those of the state that is there now."""
    with connected(read_settings(data=local.data.with_name("other"))) as db:
        organizations.add_organization(db, "other", NOW)
    _die_with_a_log(local)
    (local.data.with_name("other") / "state.db").rename(local.state_file)
    with connected(local) as db:
        assert [each.name for each in organizations.list_organizations(db)] == ["other"]
    assert len(list(local.data.glob("state.db-wal-of-*"))) == 1


def test_a_new_log_is_not_taken_for_a_former_one(local: Settings) -> None:
    """It may have the inode of a log that was removed, beside a state that was put there since."""
    with connected(local) as db, connected(local) as other:
        put(db, "one")
        log = local.state_file.with_name("state.db-wal").stat()
        former, gone = "1:1:1:1", f"{log.st_dev}:{log.st_ino}:1:1"
        local.state_file.with_name("state.db-writer").write_text(f"{former} {gone}".ljust(160))
        put(db, "two")
        assert names(other) == ["one", "two"]
    assert not list(local.data.glob("state.db-wal-of-*"))


def test_a_copied_directory_keeps_its_log(local: Settings, tmp_path: Path) -> None:
    """State and log are other files there, and belong together: no commit is lost."""
    _die_with_a_log(local)
    assert local.state_file.with_name("state.db-wal").stat().st_size > 0
    shutil.copytree(local.data, tmp_path / "copy")
    with connected(read_settings(data=tmp_path / "copy")) as db:
        assert {each.name for each in organizations.list_organizations(db)} == {"one", "two"}


def test_a_copied_log_with_the_same_inode_keeps_its_commits(local: Settings, tmp_path: Path) -> None:
    """On another file system a copy's log may have the recorded inode and time of writing, and its state another."""
    _die_with_a_log(local)
    copy = read_settings(data=tmp_path / "copy")
    shutil.copytree(local.data, copy.data)
    log, writer = copy.state_file.with_name("state.db-wal").stat(), copy.state_file.with_name("state.db-writer")
    (state, (device, inode, *times)) = (each.split(":") for each in writer.read_text().split())
    assert (inode != str(log.st_ino), times[0]) == (True, str(log.st_mtime_ns))
    writer.write_text(f"{':'.join(state)} {':'.join((device, str(log.st_ino), *times))}".ljust(160))
    with connected(copy) as db:
        assert {each.name for each in organizations.list_organizations(db)} == {"one", "two"}


def test_a_log_is_of_the_state_that_its_commits_went_to(local: Settings) -> None:
    """A state that is put there while a transaction runs isn't recorded as the one that was written."""
    with connected(read_settings(data=local.data.with_name("other"))) as db:
        organizations.add_organization(db, "other", NOW)
    with connected(local) as db:
        with writing(db) as connection:
            connection.execute(_PUT, {"name": "one"})
            (local.data.with_name("other") / "state.db").rename(local.state_file)
        assert names(db) == []
        assert [each.name for each in organizations.list_organizations(db)] == ["other"]
        assert len(list(local.data.glob("state.db-wal-of-*"))) == 1


def test_the_lock_belongs_to_the_states_user(local: Settings) -> None:
    """A command of root may be the first that writes: the service must get the lock after it."""
    if os.geteuid():
        pytest.skip("files are given away by root alone")
    connect(local).dispose()
    lock = local.state_file.with_name("state.db-writer")
    lock.unlink()
    os.chown(local.state_file, 12345, 23456)
    with connected(local) as db:
        put(db, "one")
    assert (lock.stat().st_uid, lock.stat().st_gid) == (12345, 23456)


def test_a_checkpoint_leaves_its_short_wait_to_nobody(local: Settings) -> None:
    """The connection that made it waits as long as any other for SQLite's locks afterwards."""
    with connected(local) as db:
        put(db, "one")
        with reading(db) as connection:
            assert connection.execute(text("PRAGMA busy_timeout")).scalar() == 1000 * BUSY_SECONDS


def test_a_read_only_view_sees_what_is_written_beside_it(local: Settings, tmp_path: Path) -> None:
    """A state that nobody seemed to change is given up for the log that somebody with another mount begins."""
    with small_disk(local.data, "8m"):
        connect(local).dispose()
        view = read_settings(data=tmp_path / "view")
        with read_only_view(view.data, local.data):
            seen = open_database(view)
            assert names(seen) == []
            with connected(local) as db:
                put(db, "one")
                assert names(seen) == ["one"]
            seen.dispose()


def test_a_disk_without_a_limit_is_not_full(local: Settings) -> None:
    """It tells of no blocks at all, and so of none that are free."""
    with small_disk(local.data, "0"), connected(local) as db:
        put(db, "one")
        require_room(db)


def test_the_last_process_leaves_no_log(local: Settings) -> None:
    """After a clean end the state is one file, which may be copied."""
    with connected(local) as db:
        put(db, "one")
    assert until(lambda: not local.state_file.with_name("state.db-wal").exists())


def test_a_state_that_comes_from_the_rollback_journal_keeps_its_rows(local: Settings) -> None:
    """As that of a directory that was on another file system."""
    with connected(local) as db:
        put(db, "before")
    with closing(sqlite3.connect(local.state_file)) as state:
        assert state.execute("PRAGMA journal_mode = TRUNCATE").fetchone() == ("truncate",)
    with connected(local) as db:
        put(db, "after")
        assert names(db) == ["after", "before"]
        with writing(db) as connection:
            assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"


_LOCKLESS = """
import errno, os, sys
from pathlib import Path
from reelport.errors import StorageError
from reelport.server.doctor.checks import check_disk
from reelport.server.settings import read_settings
from reelport.server.state.database import connected

def refuse_locks(event, _):
    if event in {"fcntl.flock", "fcntl.lockf"}:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

settings = read_settings(data=Path(sys.argv[1]))
sys.addaudithook(refuse_locks)
print("ready", flush=True)
try:
    with connected(settings):
        pass
except StorageError as error:
    print(error)
for well, sentence in check_disk(settings):
    if not well and "locked" in sentence:
        print(sentence)
"""


def test_a_file_system_without_locks_is_told_with_what_to_do(local: Settings) -> None:
    """By the start, and by `doctor`, instead of the system's bare error."""
    local.data.mkdir()
    refused, found = run_child(_LOCKLESS, str(local.data)).splitlines()
    advice = "the file system has no locks, or none are left: use a local file system, or mount it with locks"
    lock = f"{local.state_file}-writer"
    assert refused == (
        f"The state database can't be used: {lock} can't be locked: {advice}; or keep the state in PostgreSQL "
        "(REELPORT_DATABASE_URL)."
    )
    assert found == f"A file of it can't be locked: {advice}."
