"""`reelport upgrade`: what it prints, for people and for programs, and that the check comes before the deed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from reelport.cli.main import main
from reelport.facts.layout import check_layout
from reelport.server.settings import read_settings
from reelport.server.state.database import connect
from reelport.server.state.revisions import REVISION

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `reelport upgrade` over a state: its exit status, stdout and stderr."""
    settings = read_settings(data=tmp_path / "data")
    connect(settings).dispose()

    def call(*words: str, data: Path = settings.data) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(["upgrade", *words, "--data", str(data)])
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    return call


def test_the_check_says_what_the_upgrade_then_does(run: Run) -> None:
    """Of a state that is at this version's revision: nothing, and no process has to stop."""
    status, out, _ = run("--check", "--json")
    told = json.loads(out)
    assert status == 0
    assert (told["from_revision"], told["to_revision"], told["from_layout"], told["to_layout"]) == (
        REVISION,
        REVISION,
        1,
        1,
    )
    assert (told["migrations"], told["old_processes"]) == ([], "They and new ones may run: nothing changes.")
    assert json.loads(run("--json")[1])["from_revision"] == REVISION


def test_a_check_of_a_directory_without_a_state_lists_every_migration(run: Run, tmp_path: Path) -> None:
    """One a line, for people."""
    (tmp_path / "new").mkdir()
    check_layout(tmp_path / "new")
    lines = run("--check", data=tmp_path / "new")[1].splitlines()
    assert any(line.startswith("  0001 All tables of the state") for line in lines)


def test_a_directory_that_is_none_is_not_made(run: Run, tmp_path: Path) -> None:
    """A mistyped name is an error, with and without the check."""
    for words in ((), ("--check",)):
        status, _, err = run(*words, data=tmp_path / "typo")
        assert (status, "isn't there" in err) == (2, True)
    assert not (tmp_path / "typo").exists()
