"""`audit`, called as from a shell: what it shows, of whom, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.service_commands.command import Commands

PASSWORD = "correct horse battery\n"  # noqa: S105 - of a test


@pytest.fixture
def run(tmp_path: Path) -> Commands:
    """Commands over a data directory with two organizations."""
    call = Commands(tmp_path)
    for name in ("demo", "rival"):
        assert call("org", "add", name)[0] == 0
    return call


def told(run: Commands, *words: str) -> list[str]:
    """Actions and subjects, the newest first."""
    status, out, _ = run("audit", "--json", *words)
    assert status == 0
    return [f"{row['action']}: {row['subject']}" for row in json.loads(out)]


def test_what_commands_do_is_told(run: Commands) -> None:
    """Each with the organization that it concerns; what removes an organization concerns the platform."""
    add = ("user", "add", "--org", "demo", "--email", "Ann@demo.example", "--password-stdin")
    assert run(*add, stdin=PASSWORD)[0] == 0
    assert run("user", "password", "ann@demo.example", "--password-stdin", stdin=PASSWORD)[0] == 0
    assert run("user", "remove", "ann@demo.example")[0] == 0
    assert run("org", "remove", "rival", "--yes")[0] == 0
    assert told(run, "--org", "demo") == [
        "removed a user: ann@demo.example",
        "changed a password: ann@demo.example",
        "added a user: ann@demo.example",
        "added an organization: demo",
    ]
    assert told(run, "--action", "removed an organization") == ["removed an organization: rival"]
    assert told(run, "--limit", "1") == ["removed an organization: rival"]
    assert told(run, "--person", "nobody") == []


def test_a_row_is_a_line_of_plain_words(run: Commands) -> None:
    """Time in UTC, organization, who, what, and from where; none is said where there is none."""
    status, out, _ = run("audit", "--org", "demo")
    assert status == 0
    head, line = out.splitlines()
    assert head.split("\t") == ["at", "organization", "who", "what", "from"]
    at, organization, _, what, address = line.split("\t")
    assert at.endswith("Z")
    assert (organization, what, address) == ("demo", "added an organization: demo", "command line")
    assert run("audit", "--person", "nobody")[1:] == ("", "The audit log has no such row.\n")


def test_a_day_to_begin_with_is_in_utc(run: Commands) -> None:
    """What was done before that day is left out."""
    assert len(told(run, "--since", "yesterday")) == 2
    assert told(run, "--since", "2999-01-01") == []


def test_everything_that_is_wrong_is_said_at_once(run: Commands) -> None:
    """Each option has its sentence, with the nearest that there is."""
    status, out, said = run("audit", "--since", "soon", "--action", "made a key", "--limit", "0")
    assert (status, out) == (2, "")
    assert "--since: 'soon' is no day" in said
    assert "nothing is called 'made a key'" in said
    assert "--limit takes a whole number of rows from 1 to 10,000, and not 0." in said
    assert "Did you mean demo?" in run("audit", "--org", "demos")[2]
