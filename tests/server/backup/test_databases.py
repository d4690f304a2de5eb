"""The state in a backup: dumped, verified, restored after a loss, without room, and after a restore that was killed."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from tests.disks import fill, remount, small_disk
from tests.patience import until
from tests.postgresql import guarded_address
from tests.server.api import open_api
from tests.server.backup.conftest import Desk
from tests.server.conftest import NOW, State
from tests.server.queue.test_object_tables import make_queued_report, plays_of
from tests.storage.object_server import BUCKET

from reelport.errors import DiskFull, StorageError, UsageError
from reelport.facts import layout
from reelport.facts.loading.load import load_arrow
from reelport.facts.loading.verification import verify
from reelport.facts.log.snapshot import newest_versions
from reelport.server.access import organizations
from reelport.server.backup.incremental_backup import create_backup
from reelport.server.backup.kept_backups import Archive, Manifest
from reelport.server.backup.restore import find_faults, restore_backup
from reelport.server.backup.state_dump import dump_state, list_tables, load_state
from reelport.server.files import retention, store_owner
from reelport.server.files.retention import sweep
from reelport.server.settings import Settings, read_settings
from reelport.server.state.database import connected
from reelport.storage.durable import strip_draft
from reelport.storage.local_folder import LocalFolder


def restore_elsewhere(archive: Archive, made: Manifest, settings: Settings, scratch: Path) -> None:
    """Restore into a scratch directory that is then deleted; the buckets aren't named."""
    scratch.mkdir()
    shutil.copy(settings.data / "secret.key", scratch)
    restore_backup(archive, made, replace(settings, data=scratch, facts_url="", files_url=""))
    shutil.rmtree(scratch)


def load_dump(archive: Archive, made: Manifest, settings: Settings, _: Path) -> None:
    """Load the dump of the state, as pg_restore does by hand."""
    load_state(settings, archive.locate(made.state))


@pytest.mark.parametrize("restore", [restore_elsewhere, pytest.param(load_dump, marks=pytest.mark.long)])
def test_a_lost_state_is_restored_beside_its_newer_buckets(
    object_server: str,
    new_database: Callable[..., str],
    tmp_path: Path,
    restore: Callable[[Archive, Manifest, Settings, Path], None],
) -> None:
    """Its reports and keys are there, the tables as new as they were; the prefix is taken over by whoever says so."""
    assert object_server
    url = f"s3://{BUCKET}/{tmp_path.parent.name}-{tmp_path.name}"
    data, remote = tmp_path / "data", {"facts_url": f"{url}/facts", "files_url": f"{url}/files"}
    lost = read_settings(data=data, database_url=new_database(), workers=0, **remote)
    archive = Archive(tmp_path / "archive")
    with open_api(lost) as api:
        load_arrow(lost.facts_root, "plays", plays_of(1), "day-1")
        api.ask(startDate="2026-01-01", endDate="2026-01-05")
        make_queued_report(api)
        made = create_backup(api.service.db, lost, archive, datetime.now(UTC))
        load_arrow(lost.facts_root, "plays", plays_of(2), "day-2")
        api.ask(startDate="2026-01-02", endDate="2026-01-05")
        make_queued_report(api)
        store_owner.require_own_store(api.service.db, lost)
    (known,) = [file.name for file in made.files if file.store == "files"]
    after = newest_versions(lost.facts_root)
    found = replace(lost, database_url=new_database())
    with pytest.raises(UsageError, match="isn't empty: it holds"):
        restore_backup(archive, made, replace(found, data=tmp_path / "none"), check_secret=False)
    restore(archive, made, found, tmp_path / "scratch")
    assert newest_versions(found.facts_root) == after != made.versions
    with connected(found) as db:
        assert [each.name for each in organizations.list_organizations(db)] == ["demo"]
        with pytest.raises(UsageError, match="its state was copied, moved or restored"):
            sweep(db, found, datetime.now(UTC))
        found.report_store.delete(store_owner.PLACE_NAME)
        sweep(db, found, datetime.now(UTC))
        assert retention.check_files(db, found) == (1, ())
    assert [name for name in found.report_store.list_names() if not name.startswith(".")] == [known]
    assert not any(table.findings for table in verify(found.facts_root))


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_state_of_postgresql_is_verified_by_restoring_it(desk: Desk, new_database: Callable[..., str]) -> None:
    """Into a named database, which is empty again after; one with tables is refused, and keeps them."""
    made, empty = desk.back_up(), new_database()
    assert find_faults(desk.archive, made, desk.state.settings, None, empty) == []
    assert list_tables(replace(desk.state.settings, database_url=empty)) == ()
    with pytest.raises(UsageError, match="of --scratch-database isn't empty"):
        find_faults(desk.archive, made, desk.state.settings, None, desk.state.settings.database_url)
    with pytest.raises(UsageError, match="name an empty database to restore it into"):
        find_faults(desk.archive, made, desk.state.settings, None)
    assert "organizations" in list_tables(desk.state.settings)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_state_of_postgresql_that_can_not_be_loaded_is_told(
    desk: Desk, new_database: Callable[..., str], tmp_path: Path
) -> None:
    """After the database has loaded one that can; it is empty again."""
    made, empty = desk.back_up(), new_database()
    (tmp_path / "dump").write_bytes(desk.archive.locate(made.state).read_bytes()[:-2000])
    with closing(LocalFolder(tmp_path).open("dump")) as cut:
        broken = replace(made, state=desk.archive.store(cut))
    assert find_faults(desk.archive, made, desk.state.settings, None, empty) == []
    with pytest.raises(StorageError, match="end of file"):
        find_faults(desk.archive, broken, desk.state.settings, None, empty)
    assert list_tables(replace(desk.state.settings, database_url=empty)) == ()


def test_a_state_on_a_read_only_disk_is_dumped(tmp_path: Path) -> None:
    """As a snapshot that is mounted: SQLite would make files beside a state that has a write-ahead log."""
    with small_disk(tmp_path / "data", "8m") as disk:
        settings = read_settings(data=disk)
        with connected(settings) as db:
            organizations.add_organization(db, "one", NOW)
        remount(disk, "ro")
        dump_state(settings, tmp_path / "dump.db")
    with closing(sqlite3.connect(tmp_path / "dump.db")) as dump:
        assert dump.execute("SELECT name FROM organizations").fetchall() == [("one",)]


_DUMP = """
import sys
from pathlib import Path
from reelport.server.backup.state_dump import dump_state
from reelport.server.settings import read_settings
dump_state(read_settings(data=Path(sys.argv[1]), database_url=sys.argv[2]), Path(sys.argv[3]))
"""
_WAITING = """
SELECT 1 FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'pg_dump' AND wait_event_type = 'Lock'
"""


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_killed_dump_leaves_no_file_with_the_password(state: State, tmp_path: Path) -> None:
    """Nor does it lie in one before, nor in the words of pg_dump, which every user of the machine sees."""
    address, temporary = state.settings.database_url, tmp_path / "temporary"
    with_password = address.replace("@", ":kept%20apart@")
    temporary.mkdir()
    words = [sys.executable, "-c", _DUMP, str(state.settings.data), with_password, str(tmp_path / "killed")]
    with psycopg.connect(address) as blocker, psycopg.connect(address, autocommit=True) as watcher:
        blocker.execute("LOCK TABLE organizations")
        with subprocess.Popen(words, env=os.environ | {"TMPDIR": str(temporary)}) as dump:
            try:
                assert until(lambda: watcher.execute(_WAITING).fetchone() or dump.poll() is not None)
                assert list(temporary.iterdir()) == []
                (pg_dump,) = Path(f"/proc/{dump.pid}/task/{dump.pid}/children").read_text().split()
                assert b"apart" not in Path(f"/proc/{pg_dump}/cmdline").read_bytes()
            finally:
                dump.kill()
        assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_dump_logs_in_by_any_password(state: State, tmp_path: Path) -> None:
    """As the service does: a line feed, other marks, more than a kilobyte, and a space at its end."""
    password = "a\\'\"#=\n[é" + 400 * "token" + " \t "
    with guarded_address(state.settings.database_url, password) as url:
        address = url.render_as_string(hide_password=False)
        dump_state(replace(state.settings, database_url=address), tmp_path / "whole")
    assert (tmp_path / "whole").read_bytes().startswith(b"PGDMP")


def test_the_disk_that_is_full_is_told_and_not_the_states(tmp_path: Path) -> None:
    """An operator makes room where the archive is."""
    settings = read_settings(data=tmp_path / "data")
    with connected(settings), small_disk(tmp_path / "archive", "64k") as archive:
        fill(archive)
        with pytest.raises(DiskFull, match=rf"^{archive / 'dump.db'}: the disk is full: make room$"):
            dump_state(settings, archive / "dump.db")


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_what_an_unfinished_restore_left_takes_no_room_from_the_next(backed_up: Desk) -> None:
    """It is deleted first; what isn't its own is not, and counts."""
    made, place = backed_up.archive.read(), backed_up.place()
    with small_disk(backed_up.folder / "small", "1m") as small:
        new = replace(place, data=small / "new")
        new.data.mkdir()
        layout.begin_restore(new.data, "a restore that was killed")
        new.facts_root.mkdir()
        foreign = fill(small)
        with pytest.raises(UsageError, match=r"new has 0 bytes of room, and the backup needs [\d,]+\."):
            restore_backup(backed_up.archive, made, new, check_secret=False)
        foreign.unlink()
        remount(small, f"size={2 * _count_bytes(backed_up)}")
        left = fill(new.facts_root)
        assert left.stat().st_size > 0
        restore_backup(backed_up.archive, made, new, check_secret=False)
        layout.check_existing(new.data)


def _count_bytes(desk: Desk) -> int:
    """The bytes of the archive's objects."""
    return sum(path.stat().st_size for path in desk.archive.root.rglob("*") if path.is_file())


_DIE_WRITING = """
import resource, signal, sys
from pathlib import Path
from reelport.facts import layout
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
data = Path(sys.argv[1])
layout.end_restore(data) if sys.argv[2] == "end" else layout.begin_restore(data, "a restore that was killed")
"""


def test_a_restore_that_dies_before_its_mark_is_there_begins_anew(backed_up: Desk) -> None:
    """The draft of the mark is nobody's data; next to anything else it stays, and is refused."""
    made, place = backed_up.archive.read(), backed_up.place()
    assert _die(place.data, "begin") == layout.UNFINISHED_NAME
    (place.data / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="isn't empty"):
        restore_backup(backed_up.archive, made, place)
    (place.data / "notes.txt").unlink()
    _restore(backed_up, place)


def test_a_restore_that_dies_at_its_end_begins_anew(backed_up: Desk) -> None:
    """Neither the layout file nor its draft is in the way."""
    place = backed_up.place()
    layout.begin_restore(place.data, "a restore that was killed")
    assert _die(place.data, "end") == layout.FILE_NAME
    (place.data / layout.FILE_NAME).write_text("written just before it was killed")
    with pytest.raises(StorageError, match="was not finished: run `reelport restore` again"):
        layout.check_existing(place.data)
    _restore(backed_up, place)


@pytest.mark.parametrize("name", ["layout.json", "x.part", "x.0123456789ab.part.txt", "x.0123456789aG.part"])
def test_a_name_that_is_no_drafts_stays(name: str) -> None:
    """Only what a killed write leaves is known as its file."""
    assert strip_draft(name) == name


def _restore(desk: Desk, place: Settings) -> None:
    """Restore there, and see that nothing of the killed one is left."""
    restore_backup(desk.archive, desk.archive.read(), place)
    layout.check_existing(place.data)
    assert list(place.data.glob("*.part")) == []


def _die(data: Path, at: str) -> str:
    """Kill a process in the middle of a write; return the name of the file whose draft it leaves."""
    before = set(data.iterdir())
    done = subprocess.run([sys.executable, "-c", _DIE_WRITING, str(data), at], check=False)
    assert done.returncode == -signal.SIGXFSZ
    (draft,) = set(data.iterdir()) - before
    assert draft.name != strip_draft(draft.name)
    return strip_draft(draft.name)
