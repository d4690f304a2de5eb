"""Commands where there is no state: those that read make none, and none is made in the place of one that is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cases import thin_out
from tests.cli.service_commands.command import Commands
from tests.forked import COMMANDS, run

from reelport.facts.layout import check_layout
from reelport.facts.log.table_marks import RECORD
from reelport.server.settings import read_settings
from reelport.server.state.database import connected
from reelport.server.state.own_tables import require_own_tables


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
    done = run(["-m", "reelport", *words.split(), "--data", data], loads=COMMANDS)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert [path.name for path in data.iterdir() if path.name.startswith("s")] == []


def test_what_is_asked_for_by_name_is_not_there(tmp_path: Path) -> None:
    """Where there is no state yet: an error, and none is made either."""
    data = tmp_path / "data"
    check_layout(data)
    done = run(["-m", "reelport", "channel", "list", "--org", "demo", "--data", data], loads=COMMANDS)
    assert (done.returncode, "There is no organization 'demo'" in done.stderr) == (2, True)
    assert [path.name for path in data.iterdir()] == ["layout.json"]


def test_commands_refuse_where_the_state_is_missing(tmp_path: Path) -> None:
    """A service, too: neither a state nor a secret is made, and no finished file is deleted."""
    reelport, data = Commands(tmp_path), tmp_path / "data"
    assert reelport("org", "add", "demo")[0] == 0
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
    reelport, data = Commands(tmp_path), tmp_path / "data"
    reelport("org", "add", "demo")
    create = ("key", "create", "--org", "demo", "--permissions", "create_reports")
    assert reelport(*create)[0] == 0
    secret = data / "secret.key"
    secret.rename(tmp_path / "kept.key")
    for words in (create, ("serve", "--port", "0")):
        status, _, err = reelport(*words)
        assert (status, "made under another secret" in err) == (2, True), err
        assert not secret.exists()
    (tmp_path / "kept.key").rename(secret)
    assert reelport(*create)[0] == 0


def test_commands_refuse_where_the_tables_are_missing(tmp_path: Path) -> None:
    """A service and its workers, too: reports and backups would be empty, and loads would be lost to everybody."""
    reelport, data = Commands(tmp_path), tmp_path / "data"
    (tmp_path / "c.csv").write_text("id,slug\nc1,a\n")
    assert reelport("org", "add", "demo")[0] == 0
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
    reelport, data = Commands(tmp_path), tmp_path / "data"
    (tmp_path / "c.csv").write_text("id,slug\nc1,a\n")
    assert reelport("org", "add", "demo")[0] == 0
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
