"""Backups of the state and the tables, on both databases, and what a restore refuses."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.disks import small_disk
from tests.object_rows import merge_rows
from tests.server.backup.conftest import Desk

from reelport.errors import NewerData, ReelportError, StorageError, UsageError
from reelport.facts import layout
from reelport.facts.loading import compaction
from reelport.facts.loading.undo import undo_load
from reelport.facts.loading.vacuum import vacuum
from reelport.facts.loading.verification import verify
from reelport.facts.log.history import list_loads
from reelport.facts.log.snapshot import newest_versions
from reelport.facts.log.table_identity import RECORD
from reelport.facts.sample.sample import generate
from reelport.facts.tables import CHANNELS
from reelport.server.access import keys
from reelport.server.backup.incremental_backup import create_backup
from reelport.server.backup.kept_backups import Archive, parse_manifest
from reelport.server.backup.restore import restore_backup
from reelport.server.backup.state_dump import describe_address, name_database
from reelport.server.state.database import connected
from reelport.server.state.own_tables import read_tables_identity, require_own_tables
from reelport.server.state.state_record import NAME


def test_what_is_restored_is_what_was_backed_up(desk: Desk) -> None:
    """Tables, organizations, keys and a report that waits are there; every file has its bytes."""
    key = desk.state.key("demo", "create_reports")
    asked = desk.state.ask(desk.state.caller(key))
    made, place = desk.back_up(), desk.place()
    restore_backup(desk.archive, desk.archive.read(), place)
    assert newest_versions(place.facts_root) == made.versions == newest_versions(desk.state.settings.facts_root)
    with connected(place) as db:
        assert {each.id for each in keys.list_keys(db)} >= {key.id}
        with db.connect() as connection:
            assert connection.execute(text("SELECT token FROM reports")).scalars().all() == [asked.token]
    for file in made.files:
        root = place.facts_root if file.store == "facts" else place.files_root
        original = desk.state.settings.facts_root / file.name
        assert (root / file.name).read_bytes() == original.read_bytes()


def test_what_is_restored_is_recorded_to_have_a_state(desk: Desk) -> None:
    """Before anything has opened it: its state may be lost a moment later."""
    desk.back_up()
    place = desk.place()
    restore_backup(desk.archive, desk.archive.read(), place)
    assert (place.data / NAME).read_text().split()[0] == name_database(place)


def test_restored_tables_are_those_that_the_state_knows(desk: Desk) -> None:
    """And each of them is known to be there: one that is lost afterwards isn't taken for an empty one."""
    require_own_tables(desk.state.db, desk.state.settings)
    desk.back_up()
    place = desk.place()
    restore_backup(desk.archive, desk.archive.read(), place)
    with connected(place) as db:
        require_own_tables(db, place)
        assert read_tables_identity(db) == read_tables_identity(desk.state.db)
    shutil.rmtree(place.facts_root / "plays")
    with pytest.raises(StorageError, match="plays is missing"):
        newest_versions(place.facts_root)


@pytest.mark.parametrize("lost", ["plays", "."])
def test_no_backup_is_made_of_tables_that_are_lost(desk: Desk, lost: str) -> None:
    """It would be empty, and the good ones would make room for it."""
    require_own_tables(desk.state.db, desk.state.settings)
    desk.back_up()
    shutil.rmtree(desk.state.settings.facts_root / lost)
    with pytest.raises(StorageError, match="is missing"):
        desk.back_up(1)
    assert len(desk.archive.list_ids()) == 1


def test_a_verified_backup_is_whole(desk: Desk) -> None:
    """It is restored to a scratch place that is gone afterwards; it needs neither the secret nor the data."""
    made = desk.back_up()
    shutil.rmtree(desk.state.settings.facts_root)
    scratch = desk.folder / "scratch"
    scratch.mkdir()
    assert desk.find_faults(made, scratch, data=desk.folder / "no") == []
    assert list(scratch.iterdir()) == []


def test_the_next_backup_keeps_each_file_once(desk: Desk) -> None:
    """Of files that didn't change nothing is read or written again; a pruned one leaves what others need."""
    first = desk.back_up()
    before = {path: path.stat().st_mtime_ns for path in _objects(desk)}
    second = desk.back_up(1)
    assert second.files == first.files
    assert {path: path.stat().st_mtime_ns for path in _objects(desk) if path in before} == before
    assert len(_objects(desk)) - len(before) <= 1
    channel = {"id": "c-new", "slug": "new", "name": None, "account_id": None}
    merge_rows(desk.state.settings.facts_root, CHANNELS, [channel], "new")
    third = desk.back_up(2)
    assert desk.archive.prune(1) == (first.id, second.id)
    assert {path.name for path in _objects(desk)} == {stored.sha256 for stored in third.contents}
    assert desk.find_faults(third) == []


def test_a_restore_that_can_not_be_says_all_reasons_and_touches_nothing(backed_up: Desk) -> None:
    """Another secret, a directory that holds something, a newer state and a missing object are said together."""
    made = backed_up.archive.read()
    place = backed_up.place(secret=False)
    (place.data / "secret.key").write_text("x" * 64)
    (place.data / "mine.txt").write_text("keep me")
    backed_up.archive.locate(made.files[0].content).unlink()
    with pytest.raises(UsageError) as refused:
        restore_backup(backed_up.archive, replace(made, revision="9999"), place)
    said = str(refused.value)
    for part in (
        "is at revision 9999",
        "another one than the keys",
        "isn't empty",
        "1 object of the backup is damaged or missing",
    ):
        assert part in said
    assert {path.name for path in place.data.iterdir()} == {"secret.key", "mine.txt"}


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_a_restore_that_has_too_little_room_touches_nothing(desk: Desk) -> None:
    """It says how much there is and how much it needs; no directory is made."""
    made = desk.back_up()
    with small_disk(desk.folder / "small", "64k") as small:
        place = replace(desk.state.settings, data=small / "new")
        with pytest.raises(UsageError, match=r"has [\d,]+ bytes of room, and the backup needs [\d,]+\."):
            restore_backup(desk.archive, made, place, check_secret=False)
        assert list(small.iterdir()) == []


def test_a_backup_needs_its_secret_and_never_holds_it(backed_up: Desk) -> None:
    """Without it nothing is restored, nor is a new one made; no object of the archive holds it."""
    made, place = backed_up.archive.read(), backed_up.place(secret=False)
    with pytest.raises(UsageError, match="need their secret, which no backup holds"):
        restore_backup(backed_up.archive, made, place)
    assert list(place.data.iterdir()) == []
    secret = (backed_up.state.settings.data / "secret.key").read_bytes().strip()
    assert not any(secret in path.read_bytes() for path in _objects(backed_up))


def test_a_database_in_use_is_not_restored_into(backed_up: Desk) -> None:
    """PostgreSQL's must be empty; one kind of database doesn't take the dump of the other."""
    made = backed_up.archive.read()
    place = backed_up.place()
    if place.database_url:
        with pytest.raises(UsageError, match="isn't empty: name a new one"):
            restore_backup(backed_up.archive, made, replace(place, database_url=backed_up.state.settings.database_url))
    with pytest.raises(UsageError, match="The state was in other"):
        restore_backup(backed_up.archive, replace(made, database="other"), place)
    restore_backup(backed_up.archive, made, place)


def test_an_unfinished_restore_is_no_data_directory_until_it_is_done_again(backed_up: Desk) -> None:
    """Every use of it is refused with what to do; the next restore begins anew."""
    made, place = backed_up.archive.read(), backed_up.place()
    layout.begin_restore(place.data, "a restore that was killed")
    (place.data / "facts").mkdir()
    (place.data / "facts" / "half").write_text("x")
    (place.data / RECORD).write_text("recorded just before it was killed")
    for use in (layout.check_layout, layout.check_existing, layout.require_layout):
        with pytest.raises(StorageError, match="was not finished: run `reelport restore` again"):
            use(place.data)
    restore_backup(backed_up.archive, made, place)
    layout.check_existing(place.data)
    assert not (place.data / "facts" / "half").exists()


def test_a_restore_that_was_killed_after_its_database_was_loaded_goes_on(backed_up: Desk) -> None:
    """The database is full then, and known by what marks the directory; another backup's isn't."""
    made, place = backed_up.archive.read(), backed_up.place()
    restore_backup(backed_up.archive, made, place)
    (place.data / layout.FILE_NAME).unlink()
    mark = f"{made.id} {made.state.sha256} {describe_address(place)}"
    layout.begin_restore(place.data, mark)
    restore_backup(backed_up.archive, made, place)
    layout.check_existing(place.data)
    if place.database_url:
        (place.data / layout.FILE_NAME).unlink()
        layout.begin_restore(place.data, "another")
        with pytest.raises(UsageError, match="isn't empty: name a new one"):
            restore_backup(backed_up.archive, made, place)


def test_of_two_restores_at_the_same_moment_one_is_refused(backed_up: Desk) -> None:
    """What the other one made is whole."""
    made, place = backed_up.archive.read(), backed_up.place()
    both, said = threading.Barrier(2), list[str]()

    def restore() -> None:
        both.wait()
        try:
            restore_backup(backed_up.archive, made, place)
        except UsageError as error:
            said.append(str(error))

    threads = [threading.Thread(target=restore) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(said) == 1
    assert "Another restore" in said[0] or "isn't empty" in said[0]
    assert not any(table.findings for table in verify(place.facts_root))
    layout.check_existing(place.data)


@pytest.mark.parametrize("name", ["../../out", "/reelport-out", "a/../../../out", "", "a\0b"])
def test_a_manifest_writes_nothing_outside_of_the_restored_directory(backed_up: Desk, name: str) -> None:
    """A name that leads out ends the restore, and the check of the backup; so does a digest that is a path."""
    made, place = backed_up.archive.read(), backed_up.place()
    wrong = replace(made, files=(*made.files, replace(made.files[0], name=name)))
    before = set(backed_up.folder.rglob("*out"))
    with pytest.raises(StorageError, match="is no name of a file"):
        restore_backup(backed_up.archive, wrong, place)
    with pytest.raises(StorageError, match="is no name of a file"):
        backed_up.find_faults(wrong)
    assert set(backed_up.folder.rglob("*out")) == before
    assert not Path("/reelport-out").exists()
    bad = made.to_json().replace(made.state.sha256.encode(), b"../../../../etc/hostname")
    with pytest.raises(StorageError, match="is damaged, or no manifest"):
        parse_manifest(bad, "it")


def test_the_next_backup_mends_what_it_reads_again(desk: Desk) -> None:
    """A damaged object is written anew when its content comes again, and when it was deleted as advised."""
    made = desk.back_up()
    path = desk.archive.locate(max((file.content for file in made.files), key=lambda each: each.size))
    whole = path.read_bytes()
    path.write_bytes(whole[::-1])
    (desk.archive.root / "backups" / f"{made.id}.json").unlink()  # so that nothing is known by its tag
    again = desk.back_up(1)
    assert path.read_bytes() == whole
    path.unlink()
    assert desk.find_faults(desk.back_up(2)) == []
    assert desk.find_faults(again) == []


def test_no_backup_is_older_than_the_newest_one(desk: Desk) -> None:
    """With a clock that went back, the newest would be pruned as the oldest."""
    made = desk.back_up(60)
    with pytest.raises(UsageError, match=f"has a later backup, {made.id}"):
        desk.back_up(0)


def test_an_archive_is_a_folder_of_its_own(desk: Desk) -> None:
    """The data directory takes no backup; other files in an archive stay."""
    with pytest.raises(UsageError, match="is in the data directory itself"):
        create_backup(desk.state.db, desk.state.settings, Archive(desk.state.settings.data / "x"), desk.state.now)
    desk.back_up()
    foreign = desk.archive.root / "objects" / "ab" / "cdef"
    foreign.parent.mkdir(exist_ok=True)
    foreign.write_text("mine")
    desk.back_up(1)
    desk.archive.prune(1)
    assert foreign.read_text() == "mine"


def test_a_manifest_that_can_not_be_read_stops_no_backup_and_prunes_nothing(desk: Desk) -> None:
    """What it needs isn't known: so nothing is deleted, and everything is read again."""
    made = desk.back_up()
    (desk.archive.root / "backups" / f"{made.id}.json").write_text("{")
    objects = _objects(desk)
    second = desk.back_up(1)
    with pytest.raises(StorageError, match="is damaged, or no manifest"):
        desk.archive.prune(1)
    assert set(objects) <= set(_objects(desk))
    assert desk.find_faults(second) == []


def test_what_a_killed_backup_left_goes_with_the_next(desk: Desk) -> None:
    """Its folders for work, and its drafts of objects once backups are pruned."""
    desk.back_up()
    work, draft = desk.archive.root / "work", desk.archive.root / "objects" / f"{'ab' * 8}.part"
    (work / "reelport-abc_1234" / "spill").mkdir(parents=True)
    draft.write_text("x")
    desk.back_up(1)
    desk.archive.prune(2)
    assert list(work.iterdir()) == []
    assert not draft.exists()


def test_a_scratch_folder_that_is_not_there_is_told(backed_up: Desk) -> None:
    """It is no fault of the backup."""
    with pytest.raises(UsageError, match="is no folder"):
        backed_up.find_faults(backed_up.archive.read(), backed_up.folder / "nowhere")


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_damaged_object_is_found_and_never_restored(backed_up: Desk, damage: str) -> None:
    """The check names the file; a restore ends with it, and the directory can't be used."""
    made, place = backed_up.archive.read(), backed_up.place()
    path = backed_up.archive.locate(max((file.content for file in made.files), key=lambda each: each.size))
    path.write_bytes(path.read_bytes()[::-1]) if damage == "changed" else path.unlink()
    [fault] = backed_up.find_faults(made)
    assert str(path) in fault
    with pytest.raises(ReelportError):
        restore_backup(backed_up.archive, made, place)
    assert damage == "gone" or layout.read_unfinished(place.data)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["sqlite"])
def test_a_backup_while_tables_change_is_whole(desk: Desk) -> None:
    """Loads, undo, compaction and vacuum go on beside it; each backup is one that verifies.

    They change tables and not the state: what keeps that makes no difference.
    """
    root, done, changed = desk.state.settings.facts_root, threading.Event(), threading.Event()

    def change() -> None:
        try:
            change_all()
            changed.set()
        finally:
            done.set()  # after an error, too: nobody must wait for it

    def change_all() -> None:
        for month in range(2, 4):
            generate(root, date(2026, month, 1), date(2026, month, 4), 200)
            undo_load(root, list_loads(root, "plays")[-1])
            compaction.compact(root, today=date(2026, 12, 1))
            vacuum(root, now=datetime.now(UTC))

    changing = threading.Thread(target=change)
    changing.start()
    made = [desk.back_up(0)]
    while not done.is_set():
        made.append(desk.back_up(len(made)))
    changing.join()
    assert changed.is_set()
    for each in (made[0], made[len(made) // 2], made[-1]):
        assert desk.find_faults(each) == []


def test_two_backups_into_one_archive_take_turns(desk: Desk) -> None:
    """The second says so, and can be made later."""
    with desk.archive.writing(), pytest.raises(UsageError, match=r"Another backup into .* is running"):
        desk.back_up()
    assert desk.archive.list_ids() == ()
    desk.back_up()


def test_an_unknown_backup_is_told_with_those_there_are(desk: Desk) -> None:
    """So is an empty archive, and a manifest that is none or of a newer version."""
    with pytest.raises(UsageError, match="isn't there, or is no folder"):
        desk.archive.read()
    with desk.archive.writing(), pytest.raises(UsageError, match="has no backup: it holds none"):
        desk.archive.read()
    made = desk.back_up()
    with pytest.raises(UsageError, match=f"has no backup 'x': it holds {made.id}"):
        desk.archive.read("x")
    for broken in (b"", b"[]", b"{}", b"5", b'{"format": 1}', b"\xff", b'{"format": "x"}'):
        with pytest.raises(StorageError, match="is damaged, or no manifest"):
            parse_manifest(broken, "it")
    with pytest.raises(NewerData, match="newer version"):
        parse_manifest(b'{"format": 99}', "it")
    assert parse_manifest(made.to_json(), "it") == made


def _objects(desk: Desk) -> list[Path]:
    return [path for path in (desk.archive.root / "objects").rglob("*") if path.is_file()]
