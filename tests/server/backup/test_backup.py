"""Backups of the state and the tables, on both databases, and what a restore refuses."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text
from tests.server.conftest import State

from reelport.errors import NewerData, ReelportError, StorageError, UsageError
from reelport.facts import layout
from reelport.facts.loading import compaction, vacuuming
from reelport.facts.loading.undo import undo_load
from reelport.facts.log.history import list_loads
from reelport.facts.log.snapshot import newest_versions
from reelport.facts.sample.sample import generate
from reelport.server.access import organizations
from reelport.server.access.channel_registry import list_channels
from reelport.server.backup.archive import Archive
from reelport.server.backup.check import find_faults
from reelport.server.backup.create import create_backup
from reelport.server.backup.manifest import Manifest, Stored, parse_manifest
from reelport.server.backup.restore import restore_backup
from reelport.server.settings import Settings
from reelport.server.state.database import REVISION, connected
from reelport.server.state.secret_fingerprint import require_same_secret
from reelport.storage.local_folder import LocalFolder

START, END = date(2026, 1, 1), date(2026, 1, 10)


class Desk:
    """A state and tables, an archive beside them, and empty places to restore into."""

    def __init__(self, state: State, folder: Path, empty_database: Callable[..., str]) -> None:
        self.state, self.folder = state, folder
        self.archive = Archive(folder / "archive")
        self._empty_database = empty_database

    def back_up(self, minutes: int = 0) -> Manifest:
        """Another backup, so many minutes later."""
        now = self.state.now + timedelta(minutes=minutes)
        return create_backup(self.state.db, self.state.settings, self.archive, now)

    def place(self, name: str = "new", *, secret: bool = True) -> Settings:
        """Settings of an empty data directory and database, with the secret unless it is said otherwise."""
        data = self.folder / name
        data.mkdir()
        if secret:
            shutil.copy(self.state.settings.data / "secret.key", data)
        address = self._empty_database() if self.state.settings.database_url else ""
        return replace(self.state.settings, data=data, database_url=address)


@pytest.fixture
def desk(kind: str, state: State, tmp_path: Path, request: pytest.FixtureRequest) -> Desk:
    generate(state.settings.facts_root, START, END, 600)
    state.organization("demo", *(channel.id for channel in list_channels(state.settings)))
    state.key("demo")
    require_same_secret(state.db, state.settings)
    make = request.getfixturevalue("new_database") if kind == "postgresql" else str
    return Desk(state, tmp_path, make)


def test_what_is_restored_is_what_was_backed_up(desk: Desk) -> None:
    """Tables, organizations, keys and a report that waits are there; every file has its bytes."""
    key = desk.state.key("demo", "create_reports")
    asked = desk.state.ask(desk.state.caller(key))
    made, place = desk.back_up(), desk.place()
    restore_backup(desk.archive, desk.archive.read(), place)
    assert newest_versions(place.facts_root) == made.versions == newest_versions(desk.state.settings.facts_root)
    with connected(place) as db:
        assert {each.id for each in organizations.list_keys(db)} >= {key.id}
        with db.connect() as connection:
            assert connection.execute(text("SELECT token FROM reports")).scalars().all() == [asked.token]
    for file in made.files:
        root = place.facts_root if file.store == "facts" else place.files_root
        original = desk.state.settings.facts_root / file.name
        assert (root / file.name).read_bytes() == original.read_bytes()


def test_a_verified_backup_gave_the_same_reports(desk: Desk) -> None:
    """It is restored to a scratch place that is gone afterwards; it needs neither the secret nor the data."""
    made = desk.back_up()
    assert len(made.probes) >= 3
    assert any(probe.rows for probe in made.probes)
    shutil.rmtree(desk.state.settings.facts_root)
    scratch = desk.folder / "scratch"
    scratch.mkdir()
    assert find_faults(desk.archive, made, replace(desk.state.settings, data=desk.folder / "no"), scratch) == []
    assert list(scratch.iterdir()) == []
    changed = tuple(replace(probe, sha256="0" * 64) for probe in made.probes)
    faults = find_faults(desk.archive, replace(made, probes=changed), desk.state.settings, scratch)
    assert len(faults) == len(made.probes)
    assert all("The restored tables give another report" in fault for fault in faults)


def test_the_next_backup_keeps_each_file_once(desk: Desk) -> None:
    """Of files that didn't change nothing is read or written again; a pruned one leaves what others need."""
    first = desk.back_up()
    before = {path: path.stat().st_mtime_ns for path in _objects(desk)}
    second = desk.back_up(1)
    assert second.files == first.files
    assert {path: path.stat().st_mtime_ns for path in _objects(desk) if path in before} == before
    assert len(_objects(desk)) - len(before) <= 1
    generate(desk.state.settings.facts_root, date(2026, 2, 1), date(2026, 2, 3), 100)
    third = desk.back_up(2)
    assert desk.archive.prune(1) == (first.id, second.id)
    assert {path.name for path in _objects(desk)} == {stored.sha256 for stored in third.contents}
    assert find_faults(desk.archive, third, desk.state.settings, None) == []


def test_a_restore_that_can_not_be_says_all_reasons_and_touches_nothing(desk: Desk) -> None:
    """Another secret, a directory that holds something, a newer state and a missing object are said together."""
    made = desk.back_up()
    place = desk.place(secret=False)
    (place.data / "secret.key").write_text("x" * 64)
    (place.data / "mine.txt").write_text("keep me")
    desk.archive.locate(made.files[0].content).unlink()
    with pytest.raises(UsageError) as refused:
        restore_backup(desk.archive, replace(made, revision="9999"), place)
    said = str(refused.value)
    for part in (
        "is at revision 9999",
        "another one than the keys",
        "isn't empty",
        "1 objects of the backup are missing",
    ):
        assert part in said
    assert {path.name for path in place.data.iterdir()} == {"secret.key", "mine.txt"}


def test_a_backup_needs_its_secret_and_never_holds_it(desk: Desk) -> None:
    """Without it nothing is restored, nor is a new one made; no object of the archive holds it."""
    made, place = desk.back_up(), desk.place(secret=False)
    with pytest.raises(UsageError, match="need their secret, which no backup holds"):
        restore_backup(desk.archive, made, place)
    assert list(place.data.iterdir()) == []
    secret = (desk.state.settings.data / "secret.key").read_bytes().strip()
    assert not any(secret in path.read_bytes() for path in _objects(desk))


def test_a_database_in_use_is_not_restored_into(desk: Desk) -> None:
    """PostgreSQL's must be empty; one kind of database doesn't take the dump of the other."""
    made = desk.back_up()
    place = desk.place()
    if place.database_url:
        with pytest.raises(UsageError, match="isn't empty: name a new one"):
            restore_backup(desk.archive, made, replace(place, database_url=desk.state.settings.database_url))
    with pytest.raises(UsageError, match="The state was in other"):
        restore_backup(desk.archive, replace(made, database="other"), place)
    restore_backup(desk.archive, made, place)


def test_an_unfinished_restore_is_no_data_directory_until_it_is_done_again(desk: Desk) -> None:
    """Every use of it is refused with what to do; the next restore begins anew."""
    made, place = desk.back_up(), desk.place()
    layout.begin_restore(place.data)
    (place.data / "facts").mkdir()
    (place.data / "facts" / "half").write_text("x")
    for use in (layout.check_layout, layout.check_existing, layout.require_layout):
        with pytest.raises(StorageError, match="was not finished: run `reelport restore` again"):
            use(place.data)
    restore_backup(desk.archive, made, place)
    layout.check_existing(place.data)
    assert not (place.data / "facts" / "half").exists()


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_damaged_object_is_found_and_never_restored(desk: Desk, damage: str) -> None:
    """The check names the file; a restore ends with it, and the directory can't be used."""
    made, place = desk.back_up(), desk.place()
    path = desk.archive.locate(max((file.content for file in made.files), key=lambda each: each.size))
    path.write_bytes(path.read_bytes()[::-1]) if damage == "changed" else path.unlink()
    [fault] = find_faults(desk.archive, made, desk.state.settings, None)
    assert str(path) in fault
    with pytest.raises(ReelportError):
        restore_backup(desk.archive, made, place)
    assert damage == "gone" or layout.is_unfinished(place.data)


def test_a_backup_while_tables_change_is_whole(desk: Desk) -> None:
    """Loads, undo, compaction and vacuum go on beside it; each backup is one that verifies."""
    root, done = desk.state.settings.facts_root, threading.Event()

    def change() -> None:
        for month in range(2, 5):
            generate(root, date(2026, month, 1), date(2026, month, 4), 200)
            undo_load(root, list_loads(root, "plays")[-1])
            compaction.compact(root, today=date(2026, 12, 1))
            vacuuming.vacuum(root, now=datetime.now(UTC))
        done.set()

    changing = threading.Thread(target=change)
    changing.start()
    made = [desk.back_up(0)]
    while not done.is_set():
        made.append(desk.back_up(len(made)))
    changing.join()
    assert done.is_set()
    for each in (made[0], made[len(made) // 2], made[-1]):
        assert find_faults(desk.archive, each, desk.state.settings, None) == []


def test_two_backups_into_one_archive_take_turns(desk: Desk) -> None:
    """The second says so, and can be made later."""
    with desk.archive.writing(), pytest.raises(UsageError, match=r"Another backup into .* is running"):
        desk.back_up()
    assert desk.archive.list_ids() == ()
    desk.back_up()


def test_an_unknown_backup_is_told_with_those_there_are(desk: Desk) -> None:
    """So is an empty archive, and a manifest that is none or of a newer version."""
    with pytest.raises(UsageError, match="has no backup: it holds none"):
        desk.archive.read()
    made = desk.back_up()
    with pytest.raises(UsageError, match=f"has no backup 'x': it holds {made.id}"):
        desk.archive.read("x")
    for broken in (b"", b"[]", b"{}", b'{"format": 1}', b"\xff", b'{"format": "x"}'):
        with pytest.raises(StorageError, match="is damaged, or no manifest"):
            parse_manifest(broken, "it")
    with pytest.raises(NewerData, match="newer version"):
        parse_manifest(b'{"format": 99}', "it")
    assert parse_manifest(made.to_json(), "it") == made


def test_an_older_backup_is_brought_up_to_date(tmp_path: Path) -> None:
    """A state of the first version, restored into this one, is at its revision."""
    old = tmp_path / "state"
    engine = create_engine(f"sqlite:///{old}")
    config = Config()
    config.set_main_option("script_location", "reelport.server.state:migrations")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
    archive = Archive(tmp_path / "archive")
    with archive.writing():
        dump = LocalFolder(tmp_path).open("state")
        stored: Stored = archive.store(dump)
        dump.close()
    now = datetime.now(UTC).isoformat()
    manifest = Manifest("x", now, "0.0.1", "0001", "sqlite", None, {}, stored, (), ())
    place = Settings(data=tmp_path / "new")
    restore_backup(archive, manifest, place)
    with connected(place) as db, db.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == REVISION


def _objects(desk: Desk) -> list[Path]:
    return [path for path in (desk.archive.root / "objects").rglob("*") if path.is_file()]
