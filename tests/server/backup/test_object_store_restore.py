"""Backups of tables and reports in an object store, and restores straight into one."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests import forked
from tests.server.api import open_api
from tests.server.queue.test_object_tables import make_queued_report, plays_of
from tests.storage.object_server import BUCKET, Fault, FaultyProxy

from reelport import killpoints
from reelport.errors import ReelportError, StorageError, UsageError
from reelport.facts.layout import require_layout
from reelport.facts.loading.load import load_arrow
from reelport.facts.loading.verification import verify
from reelport.facts.log.snapshot import newest_versions, pin
from reelport.server.backup.incremental_backup import create_backup
from reelport.server.backup.kept_backups import Archive, Manifest, Stored
from reelport.server.backup.object_store_restore import MARK, list_buckets
from reelport.server.backup.restore import find_faults, restore_backup
from reelport.server.files import retention, store_owner
from reelport.server.settings import Settings, read_settings
from reelport.server.state.database import connected
from reelport.storage.file_store import read_file
from reelport.storage.object_store import ObjectStore

pytestmark = pytest.mark.long


@dataclass
class Origin:
    """A service with tables and a finished report, and its backup."""

    settings: Settings
    archive: Archive
    made: Manifest
    report: bytes
    folder: Path

    def place(self, name: str) -> Settings:
        """Settings of an empty data directory with the secret, and of two prefixes that are its own."""
        data = self.folder / name
        data.mkdir()
        shutil.copy(self.settings.data / "secret.key", data)
        url = f"s3://{BUCKET}/{self.folder.parent.name}-{self.folder.name}/{name}"
        return read_settings(data=data, facts_url=f"{url}/facts", files_url=f"{url}/files", workers=0)


@pytest.fixture(scope="module")
def backed_up(tmp_path_factory: pytest.TempPathFactory) -> Origin:
    """In a folder: only what is restored lies in the object store."""
    folder = tmp_path_factory.mktemp("origin")
    settings = read_settings(data=folder / "data", workers=0)
    with open_api(settings) as api:
        for day in range(1, 4):
            load_arrow(settings.facts_root, "plays", plays_of(day), f"day-{day}")
        api.ask(startDate="2026-01-01", endDate="2026-01-05")
        report = make_queued_report(api)
        archive = Archive(folder / "archive")
        made = create_backup(api.service.db, settings, archive, datetime.now(UTC))
    return Origin(settings, archive, made, report, folder)


@pytest.fixture
def origin(backed_up: Origin, object_server: str, tmp_path: Path) -> Origin:
    """The same, restored below a folder of the test's own."""
    assert object_server
    return replace(backed_up, folder=tmp_path)


def check_restored(origin: Origin, place: Settings) -> None:
    """Check that the tables are whole, and that the finished report is there."""
    made = origin.made
    assert newest_versions(place.facts_root) == made.versions
    assert not any(table.findings for table in verify(place.facts_root))
    (name,) = list_reports(place)
    assert read_file(place.report_store, name) == origin.report
    with connected(place) as db:
        assert retention.check_files(db, place) == (1, ())


def list_reports(place: Settings) -> list[str]:
    """The reports in the store: other files say whose it is."""
    return [name for name in place.report_store.list_names() if not name.startswith(".")]


def list_bucket(place: Settings) -> dict[str, str]:
    """All files of both prefixes, with their tags."""
    made = Manifest("", "", "", "", "", None, {}, Stored("", 0), ())
    return {f"{each.url}/{file.name}": file.tag for each in list_buckets(made, place) for file in each.store.list()}


def find_bucket(place: Settings, store: str) -> ObjectStore:
    """The store of the tables (`facts`) or of the reports (`files`)."""
    made = Manifest("", "", "", "", "", None, {}, Stored("", 0), ())
    return next(each.store for each in list_buckets(made, place) if each.url.endswith(store))


def test_a_backup_is_restored_straight_into_a_bucket(
    origin: Origin, faulty_server: FaultyProxy, tmp_path: Path
) -> None:
    """Though the store refuses, resets and loses answers; a backup of what lies there is whole, and reads it once."""
    counted = [0]

    def choose(_method: str, _path: str) -> Fault | None:
        counted[0] += 1
        return {0: Fault.SLOW_DOWN, 5: Fault.RESET, 8: Fault.LOST}.get(counted[0] % 11)

    place = origin.place("new")
    quiet, faulty_server.choose = faulty_server.choose, choose
    restore_backup(origin.archive, origin.made, place)
    assert faulty_server.count(Fault.LOST) > 0
    faulty_server.choose = quiet
    check_restored(origin, place)
    assert MARK not in {name.rpartition("/")[2] for name in list_bucket(place)}
    assert not (place.data / "facts").exists() or not any((place.data / "facts").rglob("*.parquet"))
    archive = Archive(tmp_path / "again")
    with connected(place) as db:
        faulty_server.choose = choose
        again = create_backup(db, place, archive, datetime.now(UTC))
        faulty_server.choose = quiet
        read = sum(method == "GET" and path.endswith(".parquet") for method, path, _ in faulty_server.seen)
        more = create_backup(db, place, archive, datetime.now(UTC))
    assert {file.name: file.content for file in again.files} == {file.name: file.content for file in origin.made.files}
    assert more.files == again.files
    assert read == sum(method == "GET" and path.endswith(".parquet") for method, path, _ in faulty_server.seen)
    assert find_faults(archive, again, read_settings(data=tmp_path / "none", workers=0), None) == []


@pytest.mark.parametrize("step", ["restore-commit", pytest.param("restore-upload", marks=pytest.mark.long)])
def test_a_restore_that_was_killed_goes_on(origin: Origin, step: str) -> None:
    """No version of the tables could be read meanwhile; what was uploaded stays, and another backup is refused."""
    place = origin.place("new")
    killed = forked.run(
        ["-m", "reelport", "restore", origin.archive.root, "--data", place.data],
        env=os.environ
        | {killpoints.VARIABLE: step, "REELPORT_FACTS_URL": place.facts_url, "REELPORT_FILES_URL": place.files_url},
        loads=forked.COMMANDS,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    before = list_bucket(place)
    assert any(name.endswith(MARK) for name in before)
    with pytest.raises(StorageError) if step == "restore-commit" else nullcontext():
        assert pin(place.facts_root, ["plays"]).listing["plays"] == ()
    with pytest.raises(ReelportError):
        require_layout(place.data)
    with pytest.raises(UsageError, match="holds a part of another backup"):
        restore_backup(origin.archive, replace(origin.made, id="another"), place)
    restore_backup(origin.archive, origin.made, place)
    check_restored(origin, place)
    after = list_bucket(place)
    assert {name: tag for name, tag in before.items() if name in after} == {
        name: tag for name, tag in before.items() if not name.endswith(MARK)
    }


def test_a_table_that_others_begin_meanwhile_gets_no_commit(origin: Origin, faulty_server: FaultyProxy) -> None:
    """A load into the same prefix finds no table while files are uploaded: the backup's commits stay out of its own."""
    place = origin.place("new")
    tables, first = find_bucket(place, "facts"), "plays/_delta_log/00000000000000000000.json"
    begun: list[str] = []

    def choose(method: str, path: str) -> Fault | None:
        if method == "PUT" and path.endswith(".parquet") and not begun:
            begun.append(path)
            tables.put(first, b"another table's")
        return None

    faulty_server.choose = choose
    with pytest.raises(StorageError, match=r"somebody else has begun to write there \(plays/_delta_log/0+\.json\)"):
        restore_backup(origin.archive, origin.made, place)
    assert [name for name in tables.list_names() if name.startswith("plays/_delta_log/")] == [first]
    assert read_file(tables, first) == b"another table's"


@pytest.mark.parametrize("step", ["load-upload", pytest.param("load-write", marks=pytest.mark.long)])
def test_a_backup_beside_drafts_of_a_load_is_whole(object_server: str, tmp_path: Path, step: str) -> None:
    """It has no draft that is not uploaded, and a file that is, and is a draft still, once."""
    assert object_server
    url, rows = f"s3://{BUCKET}/{tmp_path.parent.name}-{tmp_path.name}", tmp_path / "plays.parquet"
    settings = read_settings(data=tmp_path / "data", facts_url=url, workers=0)
    with open_api(settings) as api:
        load_arrow(settings.facts_root, "plays", plays_of(1), "day-1")
        pq.write_table(plays_of(2), rows)
        killed = forked.run(
            ["-m", "reelport", "load", "plays", rows, "--data", settings.data],
            env=os.environ | {killpoints.VARIABLE: step, "REELPORT_FACTS_URL": url},
            loads=forked.COMMANDS,
        )
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        archive = Archive(tmp_path / "archive")
        made = create_backup(api.service.db, settings, archive, datetime.now(UTC))
    names = [file.name for file in made.files]
    (drafts,) = (settings.facts_root / ".work").glob("load-*")
    (left,) = [f"plays/{path.relative_to(drafts).as_posix()}" for path in drafts.rglob("*.parquet")]
    assert names.count(left) == (1 if step == "load-upload" else 0)
    assert len(names) == len(set(names))
    assert find_faults(archive, made, read_settings(data=tmp_path / "none", workers=0), None) == []


def test_a_restore_into_a_bucket_says_all_reasons_and_touches_nothing(origin: Origin) -> None:
    """Another service's reports, its state's mark, and files that a restore didn't begin with are said together."""
    place = origin.place("new")
    tables, reports = find_bucket(place, "facts"), find_bucket(place, "files")
    one, two, *_ = [file for file in origin.made.files if file.store == "facts"]
    tables.put(one.name, b"x")
    tables.put(two.name, b"x" * two.content.size)
    tables.put("plays/mine.parquet", b"mine")
    reports.put(store_owner.NAME, b"another secret's")
    reports.put(store_owner.PLACE_NAME, b"another place's")
    (place.data / "mine.txt").write_text("mine")
    before = list_bucket(place)
    with pytest.raises(UsageError) as refused:
        restore_backup(origin.archive, replace(origin.made, revision="9999"), place)
    said = str(refused.value)
    for part in (
        "is at revision 9999",
        f"isn't empty: it holds {', '.join(sorted([one.name, two.name, 'plays/mine.parquet']))}. Name a new prefix.",
        "a service with another secret",
        f"delete {store_owner.PLACE_NAME} there",
        f"{place.data} isn't empty",
    ):
        assert part in said, said
    assert list_bucket(place) == before
    assert {path.name for path in place.data.iterdir()} == {"secret.key", "mine.txt"}


def test_a_bucket_that_is_away_refuses_a_restore(origin: Origin) -> None:
    """Before anything is touched."""
    place = origin.place("new")
    missing = replace(place, facts_url="s3://no-such-bucket/facts")
    with pytest.raises(UsageError, match="the store has no such bucket"):
        restore_backup(origin.archive, origin.made, missing)
    assert {path.name for path in place.data.iterdir()} == {"secret.key"}
