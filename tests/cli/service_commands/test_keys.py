"""`key` and `org max-key-age`, called as from a shell: what they print, and what they refuse."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests import forked
from tests.forked import COMMANDS, PIPE
from tests.migrated import begin_state

from reelport.cli.main import main
from reelport.server.settings import read_settings
from reelport.server.state.database import connected, writing
from reelport.server.state.tables import KEYS

Run = Callable[..., tuple[int, str, str]]
SCOPES = ("--permissions", "create_reports")


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs one command over a data directory in which `demo` is: its exit status, stdout and stderr."""

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main([*words, "--data", str(tmp_path / "data")])
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    begin_state(read_settings(data=tmp_path / "data"))
    assert call("org", "add", "demo")[0] == 0
    return call


def create(run: Run, *words: str) -> dict[str, str]:
    """A new key of `demo`, as the command prints it."""
    status, out, err = run("key", "create", "--org", "demo", *SCOPES, "--json", *words)
    assert (status, err) == (0, "")
    made: dict[str, str] = json.loads(out)
    return made


def listed(run: Run) -> list[dict[str, Any]]:
    """The keys, as the command lists them."""
    rows: list[dict[str, Any]] = json.loads(run("key", "list", "--org", "demo", "--json")[1])
    return rows


def test_a_key_has_a_name_a_maker_and_an_expiry(run: Run) -> None:
    """The list says all of it, and marks what nobody used."""
    create(run, "--name", "Nightly export", "--expires", "10")
    (row,) = listed(run)
    assert (row["name"], row["created_by"], row["last_used"]) == ("Nightly export", "command line", None)
    left = datetime.fromisoformat(row["expires"]) - datetime.now(UTC)
    assert timedelta(days=9) < left <= timedelta(days=10)
    assert row["marks"] == ["expires in 9 days", "never used"]
    out = run("key", "list")[1]
    assert "Nightly export" in out
    assert "expires in 9 days,never used" in out


def test_three_wrong_things_of_a_key_are_told_at_once(run: Run) -> None:
    """Of the organization, the permission and the expiry none hides another; nothing is made."""
    words = ("--permissions", "create_report", "--expires", "soon", "--channels", "news")
    status, _, err = run("key", "create", "--org", "deno", *words)
    assert status == 2
    for part in ("no organization 'deno'. Did you mean demo?", "create_reports?", "'soon' is no expiry"):
        assert part in err
    status, _, err = run("key", "create", "--org", "demo", *words)
    for part in ("demo has no channel 'news'", "create_reports?", "'soon' is no expiry"):
        assert part in err
    assert listed(run) == []


def test_a_key_is_renamed_by_command(run: Run) -> None:
    """What it was called is said."""
    key = create(run, "--name", "One")
    status, out, _ = run("key", "rename", key["id"], "Two", "--json")
    assert (status, json.loads(out)) == (0, {"id": key["id"], "name": "Two", "was": "One"})
    assert listed(run)[0]["name"] == "Two"


def test_a_rotation_prints_the_second_secret_once_and_can_be_cancelled(run: Run) -> None:
    """Its words for people go to stderr; another rotation meanwhile is refused."""
    key = create(run)
    status, out, err = run("key", "rotate", key["id"], "--grace", "48", "--json")
    rotated = json.loads(out)
    assert (status, rotated["id"], rotated["grace_hours"]) == (0, key["id"], 48)
    assert rotated["secret"] not in {key["secret"], ""}
    assert "valid until the first use of this one, and 48 hours longer" in err
    assert "second secret unused" in listed(run)[0]["marks"]
    assert rotated["secret"] not in run("key", "list", "--json")[1]
    status, _, err = run("key", "rotate", key["id"])
    assert (status, "has a second secret already" in err) == (2, True)
    assert run("key", "rotate", key["id"], "--cancel", "--grace", "3")[0] == 2
    assert run("key", "rotate", key["id"], "--cancel")[0] == 0
    assert "second secret unused" not in listed(run)[0]["marks"]
    status, _, err = run("key", "rotate", key["id"], "--cancel")
    assert (status, "nothing to take back" in err) == (2, True)


def test_a_cancelled_rotation_stays_so_where_nobody_reads_of_it(run: Run, tmp_path: Path) -> None:
    """It is told once it is done: a print that fails takes nothing back, in Python without buffers neither."""
    key = create(run)
    run("key", "rotate", key["id"])
    words = [sys.executable, "-m", "reelport", "key", "rotate", key["id"], "--cancel", "--data", str(tmp_path / "data")]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(words, env=os.environ | {"PYTHONUNBUFFERED": "1"}, stdout=full, stderr=PIPE, check=False)
    assert (done.returncode, b"stdout takes no more" in done.stderr) == (1, True)
    assert "second secret unused" not in listed(run)[0]["marks"]


def test_an_organizations_keys_get_a_longest_life(run: Run) -> None:
    """It shows in the lists, refuses later expiries, and `none` ends it."""
    create(run)
    assert run("org", "max-key-age", "demo", "90")[0] == 0
    assert json.loads(run("org", "list", "--json")[1])[0]["max_key_days"] == 90
    assert listed(run)[0]["expires"] is not None
    status, _, err = run("key", "create", "--org", "demo", *SCOPES, "--expires", "91")
    assert (status, "Keys of demo live 90 days at most" in err) == (2, True)
    assert run("org", "max-key-age", "demo", "none")[0] == 0
    assert listed(run)[0]["expires"] is None
    for wrong in ("soon", "0", "99999999", "-1", "", "9" * 5000):
        assert run("org", "max-key-age", "demo", wrong)[0] == 2, wrong


def test_a_longest_life_that_ends_keys_is_asked_about(run: Run, tmp_path: Path) -> None:
    """Without a terminal it is refused, and `--yes` does it; which keys ended is said."""
    key = create(run)
    with connected(read_settings(data=tmp_path / "data")) as db, writing(db) as connection:
        connection.execute(KEYS.update().values(created_at=datetime.now(UTC) - timedelta(days=40)))
    status, _, err = run("org", "max-key-age", "demo", "30")
    assert (status, f"1 key would expire at once: {key['id']}." in err) == (2, True)
    assert json.loads(run("org", "list", "--json")[1])[0]["max_key_days"] is None
    status, out, _ = run("org", "max-key-age", "demo", "30", "--yes", "--json")
    assert (status, json.loads(out)["expired_keys"]) == (0, [key["id"]])
    assert listed(run)[0]["marks"][0] == "expired"


def test_the_end_of_a_key_is_asked_for_at_a_terminal_alone(run: Run, tmp_path: Path) -> None:
    """Any other answer than yes changes nothing; `--yes`, and a program without a terminal, are not asked.

    Nor is anybody about a key that isn't there.
    """
    first, second, third = (create(run)["id"] for _ in range(3))
    words = ["-m", "reelport", "key", "revoke", first, "--data", str(tmp_path / "data")]

    def call(typed: str, *words: str) -> tuple[int | None, str]:
        ours, theirs = pty.openpty()
        os.write(ours, f"{typed}\n".encode())
        with forked.Popen(words, stdin=theirs, stdout=PIPE, stderr=PIPE, loads=COMMANDS) as command:
            said = command.communicate()[1]
        os.close(theirs)
        os.close(ours)
        return command.returncode, said

    for typed, is_over in (("n", False), ("y", True)):
        status, said = call(typed, *words)
        assert status == 0
        assert f"End the key {first}, its tokens and its links, for good? [y/N] " in said
        assert ("Nothing was changed." in said) == (not is_over)
        assert [row["id"] for row in listed(run) if row["revoked"]] == [first] * is_over
    status, said = call("y", *(word if word != first else "nope" for word in words))
    assert (status, said.startswith("reelport: There is no key 'nope'.")) == (2, True)
    assert [run("key", "revoke", *rest)[0] for rest in ((second,), (third, "--yes"))] == [0, 0]
    assert all(row["revoked"] for row in listed(run))
