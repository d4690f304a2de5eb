"""A data directory that had a state gets no other one by accident: one that is missing is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests import forked
from tests.server.conftest import NOW

from reelport.errors import StorageError, UsageError
from reelport.facts.layout import check_layout
from reelport.server.access import keys, organizations
from reelport.server.backup.incremental_backup import create_backup
from reelport.server.backup.kept_backups import Archive
from reelport.server.credentials import load_service_secret
from reelport.server.doctor.checks import run_checks
from reelport.server.settings import Settings, read_settings
from reelport.server.state.database import connect, connected, read_state_revision
from reelport.server.state.secret_fingerprint import require_same_secret
from reelport.server.state.state_copy import copy_state
from reelport.server.state.state_record import NAME


def names_of(settings: Settings) -> list[str]:
    """All files and folders of a data directory."""
    return sorted(str(path.relative_to(settings.data)) for path in settings.data.rglob("*"))


def set_aside(settings: Settings) -> Path:
    """Move a SQLite state with its journal away; returns where to."""
    aside = settings.data.with_name("aside")
    aside.mkdir()
    for path in settings.data.glob("state.db*"):
        path.rename(aside / path.name)
    return aside


def refusal(settings: Settings) -> str:
    """What opening the state says, which leaves everything as it was."""
    before = names_of(settings)
    with pytest.raises(StorageError) as refused:
        connect(settings)
    assert names_of(settings) == before
    return str(refused.value)


def doctor_on_database(settings: Settings) -> list[tuple[bool, str]]:
    """What doctor finds about the database."""
    return [(each.well, each.sentence) for each in run_checks(settings) if each.subject == "database"]


@pytest.fixture
def local(tmp_path: Path) -> Settings:
    """A data directory with a SQLite state that knows an organization."""
    settings = read_settings(data=tmp_path / "data", database_url="", workers=0)
    with connected(settings) as db:
        organizations.add_organization(db, "demo", NOW)
    return settings


def names_in(settings: Settings) -> list[str]:
    """The organizations of a state."""
    with connected(settings) as db:
        return [each.name for each in organizations.list_organizations(db)]


def test_a_sqlite_state_that_is_missing_is_refused(local: Settings) -> None:
    """Whoever opens it, doctor says the same, and it is opened again once it is back."""
    aside = set_aside(local)
    told = refusal(local)
    assert f"is missing: {local.state_file} isn't there. Nothing was changed." in told
    assert all(advice in told for advice in ("set REELPORT_DATABASE_URL", "bring state.db back", "restore a backup"))
    assert doctor_on_database(local) == [(False, told)]
    with pytest.raises(StorageError, match="is missing"):
        read_state_revision(local)
    local.state_file.touch()
    assert f"{local.state_file} is empty" in str(doctor_on_database(local))
    with pytest.raises(StorageError, match="is empty"):
        connect(local)
    for path in aside.iterdir():
        path.replace(local.data / path.name)
    assert names_in(local) == ["demo"]


def test_a_state_is_begun_anew_once_what_told_of_the_old_one_is_away(local: Settings) -> None:
    """The refusal names it."""
    set_aside(local)
    named = refusal(local).partition("move this away first: ")[2].rstrip(".").split(", ")
    assert [Path(path).name for path in named] == [NAME]
    for path in named:
        Path(path).unlink()
    assert names_in(local) == []


def test_a_directory_from_before_there_were_records_is_known_by_its_reports(local: Settings) -> None:
    """By their files; with its state it is opened, and then recorded."""
    (local.data / NAME).unlink()
    (local.data / "files").mkdir(exist_ok=True)
    (local.data / "files" / "abc-1.csv").write_text("day\n")
    aside = set_aside(local)
    assert "is missing" in refusal(local)
    for path in aside.iterdir():
        path.rename(local.data / path.name)
    assert names_in(local) == ["demo"]
    assert (local.data / NAME).read_text() == "sqlite\n"


def test_a_directory_without_a_report_gets_its_first_state(tmp_path: Path) -> None:
    """As after a load, also with a secret that lay ready and with `files/` as a disk of its own."""
    for name in ("facts", "secret", "disk"):
        settings = read_settings(data=tmp_path / name, database_url="")
        check_layout(settings.data)
        (settings.data / "facts").mkdir()
        if name == "secret":
            load_service_secret(settings)
        if name == "disk":
            (settings.data / "files" / "lost+found").mkdir(parents=True)
        assert names_in(settings) == []


def test_the_record_is_changed_only_by_who_has_the_secret(new_database: Callable[..., str], local: Settings) -> None:
    """A command with another service's address changes nothing, nor does its service, which is refused."""
    stranger = read_settings(data=local.data.with_name("stranger"), database_url=new_database())
    with connected(stranger) as db:
        organizations.add_organization(db, "other", NOW)
        keys.create_key(db, require_same_secret(db, stranger), "other", ["create_reports"], NOW)
    start(local)
    mistaken = replace(local, database_url=stranger.database_url)
    assert names_in(mistaken) == ["other"]
    with connected(mistaken) as db, pytest.raises(UsageError, match="another secret"):
        require_same_secret(db, mistaken)
    assert (local.data / NAME).read_text() == "sqlite\n"
    assert names_in(local) == ["demo"]


def test_a_state_that_was_left_behind_is_not_copied(new_database: Callable[..., str], local: Settings) -> None:
    """The one that is recorded is in PostgreSQL: what lies there is older."""
    moved = replace(local, database_url=new_database())
    copy_state(local, moved)
    start(moved)
    with pytest.raises(UsageError, match="is an older one"):
        copy_state(local, replace(local, database_url=new_database()))


def start(settings: Settings) -> None:
    """Do with a state what a service does first."""
    with connected(settings) as db:
        require_same_secret(db, settings)


def test_an_empty_postgresql_under_a_directory_that_had_a_state_is_refused(
    new_database: Callable[..., str], local: Settings
) -> None:
    """Be it in SQLite or in another PostgreSQL; one that holds a state is opened, and recorded."""
    moved, empty = (replace(local, database_url=new_database()) for _ in range(2))
    assert f"holds none, and {local.data} had one" in refusal(moved)
    copy_state(local, moved)
    start(moved)
    before = (local.data / NAME).read_text().split()[1]
    assert "holds none, and it was in PostgreSQL " + before in refusal(empty)
    assert [well for well, _ in doctor_on_database(empty)] == [False]
    assert names_in(moved) == ["demo"]


def test_a_command_without_the_address_is_refused_after_a_move_to_postgresql(
    new_database: Callable[..., str], local: Settings
) -> None:
    """Also where the old state is there still; moved back, the state is SQLite's again."""
    moved = replace(local, database_url=new_database())
    copy_state(local, moved)
    assert names_in(local) == ["demo"]  # until a first start there
    start(moved)
    told = refusal(local)
    assert "and REELPORT_DATABASE_URL isn't set." in told
    assert f"{local.state_file} is an older one." in told
    set_aside(local)
    told = refusal(local)
    assert "and REELPORT_DATABASE_URL isn't set." in told
    assert doctor_on_database(local) == [(False, told)]
    copy_state(moved, local)
    assert names_in(local) == ["demo"]


def test_no_backup_is_made_of_a_state_that_is_missing(local: Settings, tmp_path: Path) -> None:
    """So that no rotation deletes the last good one for an empty one."""
    archive = tmp_path / "archive"
    with connected(local) as db:
        create_backup(db, local, Archive(archive), NOW)
    set_aside(local)
    done = forked.run(["-m", "reelport", "backup", archive, "--keep", "1", "--data", local.data], loads=forked.COMMANDS)
    assert done.returncode != 0
    assert "is missing" in done.stderr
    assert len(Archive(archive).list_ids()) == 1


@pytest.mark.long
def test_processes_that_begin_at_once_make_one_state(tmp_path: Path) -> None:
    """And none of them takes what another has just made for what is left of a lost one."""
    data = tmp_path / "data"
    words = ["-m", "reelport", "org", "add"]
    started = [
        forked.Popen([*words, f"org-{number}", "--data", data], stderr=forked.PIPE, loads=forked.COMMANDS)
        for number in range(4)
    ]
    assert [(process.communicate(timeout=300)[1], process.returncode) for process in started] == [("", 0)] * 4
    assert names_in(read_settings(data=data, database_url="")) == [f"org-{number}" for number in range(4)]


def test_a_copy_of_the_directory_is_a_data_directory_too(local: Settings) -> None:
    """With its record."""
    copy = replace(local, data=local.data.with_name("copy"))
    shutil.copytree(local.data, copy.data)
    assert names_in(copy) == ["demo"]
