"""A client where nothing of POSIX is, in the way of Windows, or nothing of Linux alone, in the way of macOS.

Each test starts an interpreter from which all of that is taken when it starts: `no_posix` and `no_linux` say what.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cases import thin_out

from .desk import Desk

pytestmark = pytest.mark.long

HERE = Path(__file__).parent
JOB = HERE / "no_posix" / "main_job.py"


def run(
    desk: Desk, folder: Path, *words: str, without: str = "no_posix", **variables: str
) -> subprocess.CompletedProcess[str]:
    """What a Python without POSIX, or without Linux, ended in; all warnings are errors to it."""
    ours = {"PYTHONPATH": str(HERE / without), "REELPORT_HOME": str(folder / "home"), "PYTHONIOENCODING": "utf-8"}
    line = [sys.executable, "-W", "error", *words]
    environment = desk.environment | ours | variables
    done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, timeout=600, check=False)
    out, said = (text.decode("utf-8", "replace") for text in (done.stdout, done.stderr))
    return subprocess.CompletedProcess(line, done.returncode, out, said)


@pytest.mark.parametrize("without", thin_out(["no_posix", "no_linux"], 2))
def test_the_main_job_is_done(desk: Desk, tmp_path: Path, without: str) -> None:
    """Reports, ranges, copies of both kinds: the same bytes, nothing left over; locks hold, the dead are known."""
    done = run(desk, tmp_path, str(JOB), str(tmp_path), without=without)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["posix"] is (without == "no_linux")
    assert found["kept"] == [found["rows"]] * 2
    assert found["rows"] > 0
    assert found["alone"]
    assert found["dead"]
    assert ("no name for a file on Windows" in found["refused"]) is not found["posix"]
    ours = [".copy.duckdb.sync", ".copy.sync", "apart", "copy", "copy.duckdb", "ledger.db"]
    files = [f"{name}.csv{end}" for name in ("merged", "summed", "views") for end in ("", ".json")]
    files.append("summed.parquet")
    assert found["left"] == sorted([*ours, *files])
    current = tmp_path / "copy" / "views" / "current"
    assert current.is_symlink() is found["posix"]
    version = current if found["posix"] else current.parent / current.read_text("utf-8").strip()
    assert (version / "manifest.json").is_file()
    assert not list(tmp_path.rglob("*.part"))
    assert not list(tmp_path.rglob("holder"))


def test_the_command_line_does_it_too(desk: Desk, tmp_path: Path) -> None:
    """To a file and through a landing place, also where stdout can't write every letter, as in a pipe on Windows."""
    report = ["-m", "reelport", "report", "run", "--metrics", "VIEWS", "--dimensions", "DAY,VIDEO_TITLE"]
    days = ["--start", "5d", "--end", "yesterday"]
    to_file = run(desk, tmp_path, *report, *days, "-o", "views.csv")
    assert to_file.returncode == 0, to_file.stderr
    to_stdout = run(desk, tmp_path, *report, *days)
    assert to_stdout.stdout.encode() == (tmp_path / "views.csv").read_bytes(), to_stdout.stderr
    table = run(desk, tmp_path, *report, *days, "--format", "table", PYTHONIOENCODING="ascii")
    assert (table.returncode, "?" in table.stdout) == (0, True), table.stderr
    assert list((tmp_path / "home" / "landing").iterdir()) == []
    assert run(desk, tmp_path, "-m", "reelport", "jobs", "list").returncode == 0


@pytest.mark.parametrize("command", thin_out(["serve", "org list", "doctor"], 3))
def test_the_service_s_commands_say_where_they_run(desk: Desk, tmp_path: Path, command: str) -> None:
    """A sentence with what to do, and no traceback."""
    done = run(desk, tmp_path, "-m", "reelport", *command.split())
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "runs on Linux, and not here: on Windows use WSL or a container" in done.stderr
