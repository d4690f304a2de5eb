"""How commands take a data directory, whole or with something missing; `upgrade`, `backup` and `verify`."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from tests import forked
from tests.cases import thin_out
from tests.cli.service_commands.conftest import Commands, Run
from tests.forked import COMMANDS

from reelport.facts.layout import check_layout
from reelport.facts.log.table_identity import RECORD
from reelport.facts.rollups import FOLDER
from reelport.server.app import create_app
from reelport.server.settings import read_settings
from reelport.server.state.database import connect, connected
from reelport.server.state.own_tables import require_own_tables
from reelport.server.state.revisions import REVISION


@pytest.mark.parametrize("words", ["tables", "org add demo", "sample --start 2026-10-01 --end 2026-10-01", "serve"])
def test_an_empty_name_of_a_data_directory_is_refused(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    """As an unset variable of a shell gives it: it would be the current folder, where nothing is made."""
    monkeypatch.chdir(tmp_path)
    status, _, err = run(*words.split(), data="")
    assert (status, "current folder" in err) == (2, True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", ["tables", "org list"])
def test_an_empty_variable_names_no_data_directory(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    """The default is taken then, by commands over tables as by those over the state."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REELPORT_DATA", "")
    assert f"{tmp_path / 'reelport-data'} isn't there" in run(*words.split(), data=None)[2]


def test_a_file_in_place_of_the_data_directory_is_told(run: Run, tmp_path: Path) -> None:
    (tmp_path / "README").write_text("read me")
    assert "is no directory" in run("doctor", data=tmp_path / "README")[1]


def test_sample_facts_that_cannot_be_made_leave_nothing(run: Run, tmp_path: Path) -> None:
    """Reversed days and too few rows are told together, before there is a data directory."""
    status, _, err = run("sample", "--start", "2026-10-02", "--end", "2026-10-01", "--rows", "0")
    assert (status, "reversed" in err, "rows must be" in err) == (2, True, True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words",
    thin_out(
        ["key list", "org list", "queue list", "user list", "audit", "verify", "rollups suggest", "org list --json"], 3
    ),
)
def test_a_command_that_reads_makes_no_state(tmp_path: Path, words: str) -> None:
    """In a directory that has facts alone; it says what it says of a state that holds nothing."""
    data = tmp_path / "data"
    check_layout(data)
    done = forked.run(["-m", "reelport", *words.split(), "--data", data], loads=COMMANDS)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert [path.name for path in data.iterdir() if path.name.startswith("s")] == []


def test_what_is_asked_for_by_name_is_not_there(tmp_path: Path) -> None:
    """Where there is no state yet: an error, and none is made either."""
    data = tmp_path / "data"
    check_layout(data)
    done = forked.run(["-m", "reelport", "channel", "list", "--org", "demo", "--data", data], loads=COMMANDS)
    assert (done.returncode, "There is no organization 'demo'" in done.stderr) == (2, True)
    assert [path.name for path in data.iterdir()] == ["layout.json"]


def test_commands_refuse_where_the_state_is_missing(tmp_path: Path) -> None:
    """A service, too: neither a state nor a secret is made, and no finished file is deleted."""
    reelport, data = Commands(tmp_path, "demo"), tmp_path / "data"
    assert reelport("key", "create", "--org", "demo", "--permissions", "create_reports")[0] == 0
    (data / "files").mkdir()
    (data / "files" / "abc-1.csv").write_text("day,views\n")
    for path in data.glob("state.db*"):
        path.unlink()
    before = sorted(path.name for path in data.iterdir())
    for words in ("key list", "org add rival", "verify", "upgrade", "upgrade --check", "serve --port 0", "worker"):
        status, out, err = reelport(*words.split())
        assert (status != 0, out) == (True, ""), words
        assert f"{data}/state.db isn't there. Nothing was changed." in err, words
    assert sorted(path.name for path in data.iterdir()) == before
    assert (data / "files" / "abc-1.csv").exists()


def test_no_secret_is_made_where_the_keys_have_another_one(tmp_path: Path) -> None:
    """A key or a service is refused until it is back, and then all is as before."""
    reelport, data = Commands(tmp_path, "demo"), tmp_path / "data"
    create = ("key", "create", "--org", "demo", "--permissions", "create_reports")
    assert reelport(*create)[0] == 0
    secret = data / "secret.key"
    secret.rename(tmp_path / "kept.key")
    for words in (create, ("serve", "--port", "0")):
        status, _, err = reelport(*words)
        assert (status, "made under another secret" in err) == (2, True), err
        assert not secret.exists()
    status, _, err = reelport("doctor")
    assert (status, "under another secret" in err) == (1, True)
    (tmp_path / "kept.key").rename(secret)
    assert reelport(*create)[0] == 0


def test_commands_refuse_where_the_tables_are_missing(tmp_path: Path) -> None:
    """A service and its workers, too: reports and backups would be empty, and loads would be lost to everybody."""
    reelport, data = Commands(tmp_path, "demo"), tmp_path / "data"
    (tmp_path / "c.csv").write_text("id,slug\nc1,a\n")
    assert reelport("load", "channels", f"{tmp_path}/c.csv")[0] == 0
    (data / "facts").rename(tmp_path / "away")
    for words in (f"load channels {tmp_path / 'c.csv'}", "compact", "verify", f"backup {tmp_path / 'archive'}"):
        status, out, err = reelport(*words.split())
        assert (status != 0, out) == (True, ""), words
        assert f"{data}/facts/_tables/identity is missing" in err, words
    for words in ("serve --port 0", "worker"):
        status, _, err = reelport(*words.split())
        assert (status != 0, f"{data}/facts/_tables/identity is missing" in err) == (True, True), words
    assert not (data / "facts").exists()
    (tmp_path / "away").rename(data / "facts")
    assert reelport("verify")[0] == 0


def test_commands_that_read_the_state_ask_it_whose_the_tables_are(tmp_path: Path) -> None:
    """A data directory that has used none yet can't tell, as that of a machine whose address was forgotten."""
    reelport, data = Commands(tmp_path, "demo"), tmp_path / "data"
    (tmp_path / "c.csv").write_text("id,slug\nc1,a\n")
    assert reelport("load", "channels", f"{tmp_path}/c.csv")[0] == 0
    settings = read_settings(data=data)
    with connected(settings) as db:
        require_own_tables(db, settings)
    (data / "facts").rename(tmp_path / "away")
    (data / RECORD).unlink()
    for words in ("verify", f"backup {tmp_path / 'archive'}"):
        status, out, err = reelport(*words.split())
        assert (status != 0, out, "The tables that the state knows are not there" in err) == (True, "", True), words
    assert sorted(path.name for path in data.glob("facts*")) == []


def test_the_check_says_what_the_upgrade_then_does(run: Run, tmp_path: Path) -> None:
    """Of a state that is at this version's revision: nothing, and no process has to stop."""
    connect(read_settings(data=tmp_path / "data")).dispose()
    status, out, _ = run("upgrade", "--check", "--json")
    told = json.loads(out)
    assert status == 0
    assert (told["from_revision"], told["to_revision"], told["from_layout"], told["to_layout"]) == (
        REVISION,
        REVISION,
        1,
        1,
    )
    assert (told["migrations"], told["old_processes"]) == ([], "They and new ones may run: nothing changes.")
    assert json.loads(run("upgrade", "--json")[1])["from_revision"] == REVISION


def test_a_check_of_a_directory_without_a_state_lists_every_migration(run: Run, tmp_path: Path) -> None:
    """One a line, for people."""
    (tmp_path / "new").mkdir()
    check_layout(tmp_path / "new")
    lines = run("upgrade", "--check", data=tmp_path / "new")[1].splitlines()
    assert any(line.startswith("  0001 The first release's tables") for line in lines)


def test_a_directory_that_is_none_is_not_made(run: Run, tmp_path: Path) -> None:
    """A mistyped name is an error, with and without the check."""
    for words in ((), ("--check",)):
        status, _, err = run("upgrade", *words, data=tmp_path / "typo")
        assert (status, "isn't there" in err) == (2, True)
    assert not (tmp_path / "typo").exists()


def test_a_backup_is_told_by_metrics_when_it_has_ended(tmp_path: Path) -> None:
    """One that was refused, as of a folder in the data directory itself, is not."""
    command = Commands(tmp_path, "demo")

    def read_last() -> float:
        with TestClient(create_app(read_settings(data=tmp_path / "data", workers=0))) as client:
            found = re.search(
                r"^reelport_last_backup_timestamp_seconds (\S+)$", client.get("/metrics").text, re.MULTILINE
            )
        assert found is not None
        return float(found[1])

    status, _, err = command("backup", str(tmp_path / "data" / "backups"))
    assert (status, "is in the data directory itself" in err) == (2, True)
    assert read_last() == 0
    began = time.time()
    assert command("backup", str(tmp_path / "archive"))[0] == 0
    assert began - 0.001 <= read_last() <= time.time()


def test_verify_names_a_rollup_that_has_rotted(run: Run, tmp_path: Path) -> None:
    """It is named, and to be deleted and built anew; untouched it is as recorded."""
    plays = tmp_path / "plays.csv"
    plays.write_text(
        "started_at,video_id,owner_channel_id,media_type,views,time_watched_seconds\n"
        "2026-01-05T10:00:00Z,v1,c1,video,3,60\n"
    )
    for words in (("load", "plays", str(plays)), ("rollups", "add", "plays"), ("rollups", "build"), ("verify",)):
        assert run(*words)[0] == 0, words
    (sums,) = (read_settings(data=tmp_path / "data").facts_root / FOLDER).rglob("*.parquet")
    sums.write_bytes(sums.read_bytes() + b"rot")
    status, *said = run("verify")
    assert status == 1
    assert (
        f"{sums.name}: its bytes are not those that were written: delete it, and run reelport rollups build"
        in "".join(said)
    )
