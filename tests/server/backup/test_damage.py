"""Damage in an archive: finished reports are left out of a restore, and everything else is named."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.server.api import open_api
from tests.server.queue.test_object_tables import make_queued_report, plays_of
from tests.storage.object_server import BUCKET

from reelport.cli.main import main
from reelport.errors import ReelportError, StorageError, UsageError
from reelport.facts.loading.load import load_arrow
from reelport.facts.loading.verification import verify
from reelport.facts.log.snapshot import ABSENT, newest_versions
from reelport.server.backup.incremental_backup import create_backup
from reelport.server.backup.kept_backups import Archive, Manifest, Stored
from reelport.server.backup.restore import restore_backup
from reelport.server.files import retention
from reelport.server.settings import Settings, read_settings
from reelport.server.state.database import connected


@dataclass
class Damaged:
    """A service with three days of plays and two finished reports, two backups of it, and its copy of the archive."""

    settings: Settings
    archive: Archive
    made: Manifest
    later: Manifest
    folder: Path

    def place(self, name: str = "new") -> Settings:
        """Settings of an empty data directory with the secret."""
        data = self.folder / name
        data.mkdir()
        shutil.copy(self.settings.data / "secret.key", data)
        return read_settings(data=data, workers=0)

    def find(self, part: str) -> Stored:
        """The object of the first file of the earlier backup with this in its name."""
        return next(file.content for file in self.made.files if part in f"{file.store}/{file.name}")

    def damage(self, part: str, how: str = "changed") -> Path:
        """Change or delete the object of that file."""
        path = self.archive.locate(self.find(part))
        path.write_bytes(path.read_bytes()[::-1]) if how == "changed" else path.unlink()
        return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Damaged:
    """Days 1 and 2 are in both backups, day 3 is in the later one alone."""
    folder = tmp_path_factory.mktemp("whole")
    settings = read_settings(data=folder / "data", workers=0)
    now, archive = datetime.now(UTC), Archive(folder / "archive")
    with open_api(settings) as api:
        load_arrow(settings.facts_root, "plays", plays_of(1), "day-1")
        load_arrow(settings.facts_root, "plays", plays_of(2), "day-2")
        for end in ("2026-01-01", "2026-01-02"):
            api.ask(startDate="2026-01-01", endDate=end)
            make_queued_report(api)
        made = create_backup(api.service.db, settings, archive, now)
        load_arrow(settings.facts_root, "plays", plays_of(3), "day-3")
        later = create_backup(api.service.db, settings, archive, now + timedelta(minutes=1))
    return Damaged(settings, archive, made, later, folder)


@pytest.fixture
def desk(whole: Damaged, tmp_path: Path) -> Damaged:
    """The same, with an archive of the test's own."""
    shutil.copytree(whole.archive.root, tmp_path / "archive")
    return replace(whole, archive=Archive(tmp_path / "archive"), folder=tmp_path)


@pytest.mark.parametrize("how", ["changed", "gone"])
def test_a_finished_report_that_is_damaged_or_missing_stops_no_restore(desk: Damaged, how: str) -> None:
    """It is left out and expired; the other one is there, the tables are whole, and `verify` finds no fault."""
    desk.damage("files/", how)
    place = desk.place()
    [lost] = restore_backup(desk.archive, desk.made, place)
    assert (lost.store, lost.content) == ("files", desk.find("files/"))
    assert newest_versions(place.facts_root) == desk.made.versions
    assert not any(table.findings for table in verify(place.facts_root))
    with connected(place) as db:
        assert retention.check_files(db, place) == (1, ())
        with db.connect() as connection:
            rows = connection.execute(text("SELECT status, file FROM reports ORDER BY status")).all()
    assert [row.status for row in rows] == ["EXPIRED", "FINISHED"]
    assert rows[0].file is None


def test_the_command_warns_of_what_is_left_out(desk: Damaged, capsys: pytest.CaptureFixture[str]) -> None:
    """With their names, which its JSON has all of; it has succeeded."""
    desk.damage("files/")
    name = next(file.name for file in desk.made.files if file.store == "files")
    lost_file = next(file for file in desk.made.files if "month=" in file.name)
    desk.damage(lost_file.name)
    place = desk.place()
    words = ["restore", str(desk.archive.root), "--id", desk.made.id, "--data", str(place.data), "--json"]
    words.append("--without-damaged")
    with pytest.raises(SystemExit) as left:
        main(words)
    out, err = capsys.readouterr()
    assert not left.value.code
    assert json.loads(out)["reports_left_out"] == [name]
    assert json.loads(out)["facts_left_out"] == [lost_file.name]
    assert re.search(
        r"1 file of the tables is damaged .* left out: plays/month=2026-01/2026-01-0[12].* Load their days", err
    )
    assert f"warning: 1 finished report is damaged or missing in the archive, and left out: {name}. They" in err


@pytest.mark.parametrize("how", ["changed", "gone"])
def test_damaged_facts_are_all_named_with_what_can_be_done(desk: Damaged, how: str) -> None:
    """A log can't be left out; facts can."""
    third = next(file for file in desk.later.files if file not in desk.made.files and "month=" in file.name)
    path = desk.archive.locate(third.content)
    path.write_bytes(path.read_bytes()[::-1]) if how == "changed" else path.unlink()
    with pytest.raises(ReelportError) as refused:
        restore_backup(desk.archive, desk.later, desk.place())
    said = str(refused.value)
    assert f"1 object of the backup is damaged or missing in {desk.archive.root}:\n" in said
    assert f"{path}: {third.name}\n" in said
    assert third.name.startswith("plays/month=2026-01/2026-01-03-")
    assert "restore another backup (--id); or restore without them (--without-damaged)" in said
    other, log = desk.damage("facts/plays/month", how), desk.damage("facts/plays/_delta_log", how)
    with pytest.raises(ReelportError) as refused:
        restore_backup(desk.archive, desk.later, desk.place("another"))
    said = str(refused.value)
    assert "3 objects of the backup are damaged or missing" in said
    assert f"{path}: {third.name}\n" in said
    assert f"{other}: plays/month=" in said
    assert f"{log}: plays/_delta_log/" in said
    assert "--without-damaged" not in said


@pytest.mark.parametrize("how", ["changed", "gone"])
def test_facts_are_restored_without_a_damaged_file_where_that_is_asked_for(desk: Damaged, how: str) -> None:
    """`verify` names the file, and its days can be loaded anew: the tables are whole again then."""
    lost_file = next(file for file in desk.made.files if "month=" in file.name)
    desk.damage(lost_file.name, how)
    place = desk.place()
    with pytest.raises(ReelportError, match="--without-damaged"):
        restore_backup(desk.archive, desk.made, place)
    assert restore_backup(desk.archive, desk.made, place, without_damaged=True) == (lost_file,)
    [finding] = [finding for table in verify(place.facts_root) for finding in table.findings]
    assert "the file is missing" in str(finding)
    day = next(day for day in (1, 2) if f"/2026-01-0{day}-" in lost_file.name)
    span = (date(2026, 1, day), date(2026, 1, day))
    load_arrow(place.facts_root, "plays", plays_of(day), "again", replace=span)
    assert not any(table.findings for table in verify(place.facts_root))


def test_a_damaged_state_or_log_is_never_left_out(desk: Damaged) -> None:
    """Without it nothing else can be read."""
    log = desk.damage("facts/plays/_delta_log")
    state = desk.archive.locate(desk.made.state)
    state.write_bytes(state.read_bytes()[::-1])
    with pytest.raises(StorageError) as refused:
        restore_backup(desk.archive, desk.made, desk.place(), without_damaged=True)
    said = str(refused.value)
    assert f"{state}: the state\n" in said
    assert f"{log}: plays/_delta_log/" in said
    state.unlink()
    with pytest.raises(UsageError, match="the state\n"):
        restore_backup(desk.archive, desk.made, desk.place("another"), without_damaged=True)


def test_a_restore_into_a_bucket_leaves_out_what_one_into_a_folder_does(desk: Damaged, object_server: str) -> None:
    """A damaged report, and damaged facts where that is asked for; without that no table can be read there."""
    assert object_server
    url = f"s3://{BUCKET}/{desk.folder.name}"
    place = replace(desk.place(), facts_url=f"{url}/facts", files_url=f"{url}/files")
    desk.damage("files/")
    lost_file = next(file for file in desk.made.files if "month=" in file.name)
    desk.damage(lost_file.name)
    with pytest.raises(StorageError, match="plays/month=2026-01/2026-01-0"):
        restore_backup(desk.archive, desk.made, place)
    assert {*newest_versions(place.facts_root).values()} == {ABSENT}
    left_out = restore_backup(desk.archive, desk.made, place, without_damaged=True)
    assert [file.store for file in left_out].count("files") == 1
    assert [file for file in left_out if file.store == "facts"] == [lost_file]
    assert newest_versions(place.facts_root) == desk.made.versions
    with connected(place) as db:
        assert retention.check_files(db, place) == (1, ())
