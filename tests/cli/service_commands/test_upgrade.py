"""`reelport upgrade`: what it prints, for people and for programs, and that the check comes before the deed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.server.upgrade.older_states import OLDER, make_older_state

from reelport.cli.main import main
from reelport.server.settings import read_settings
from reelport.server.state.revisions import REVISION

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `reelport upgrade` over a state of an older version: its exit status, stdout and stderr."""
    settings = read_settings(data=tmp_path / "data")
    make_older_state(settings)

    def call(*words: str, data: Path = settings.data) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(["upgrade", *words, "--data", str(data)])
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    return call


def test_the_check_says_what_the_upgrade_then_does(run: Run) -> None:
    """Twice the same, as it changes nothing; after the upgrade there is nothing left to do."""
    status, out, _ = run("--check", "--json")
    told = json.loads(out)
    assert status == 0
    assert (told["from_revision"], told["to_revision"], told["from_layout"], told["to_layout"]) == (
        OLDER,
        REVISION,
        1,
        1,
    )
    assert told["old_processes"].startswith("Those that run go on")
    assert 0 < told["room_needed"] < told["room_free"]
    assert json.loads(run("--check", "--json")[1])["changes"] == told["changes"]
    assert json.loads(run("--json")[1])["from_revision"] == OLDER
    after = json.loads(run("--check", "--json")[1])
    assert (after["migrations"], after["changes"], after["room_needed"]) == ([], [], 0)


def test_people_read_one_change_a_line(run: Run) -> None:
    """A list is not one long line."""
    lines = run("--check")[1].splitlines()
    assert "  makes table audit_log" in lines
    assert any(line.startswith("  0010 What Studio needs") for line in lines)


def test_a_directory_that_is_none_is_not_made(run: Run, tmp_path: Path) -> None:
    """A mistyped name is an error, with and without the check."""
    for words in ((), ("--check",)):
        status, _, err = run(*words, data=tmp_path / "typo")
        assert (status, "isn't there" in err) == (2, True)
    assert not (tmp_path / "typo").exists()
