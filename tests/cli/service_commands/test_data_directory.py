"""How commands take the name of a data directory, and what they say where there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from reelport.cli.main import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs one command in an empty folder: its exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main([*words])
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    return call


@pytest.mark.parametrize("words", ["tables", "org add demo", "sample --start 2026-10-01 --end 2026-10-01", "serve"])
def test_an_empty_name_of_a_data_directory_is_refused(run: Run, tmp_path: Path, words: str) -> None:
    """As an unset variable of a shell gives it: it would be the current folder, where nothing is made."""
    status, _, err = run(*words.split(), "--data", "")
    assert (status, "current folder" in err) == (2, True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", ["tables", "org list"])
def test_an_empty_variable_names_no_data_directory(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    """The default is taken then, by commands over tables as by those over the state."""
    monkeypatch.setenv("REELPORT_DATA", "")
    assert f"{tmp_path / 'reelport-data'} isn't there" in run(*words.split())[2]


def test_a_file_in_place_of_the_data_directory_is_told(run: Run, tmp_path: Path) -> None:
    (tmp_path / "README").write_text("read me")
    assert "is no directory" in run("doctor", "--data", "README")[1]


def test_sample_facts_that_cannot_be_made_leave_nothing(run: Run, tmp_path: Path) -> None:
    """Reversed days and too few rows are told together, before there is a data directory."""
    status, _, err = run("sample", "--start", "2026-10-02", "--end", "2026-10-01", "--rows", "0")
    assert (status, "reversed" in err, "rows must be" in err) == (2, True, True)
    assert not list(tmp_path.iterdir())
