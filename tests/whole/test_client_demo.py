"""`make demo`'s program: the whole main job in a folder of its own, and nothing left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

DEMO = [sys.executable, "-m", "reelport.cli.demo"]
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("REELPORT_")} | {
    "COLUMNS": "80",
    "PYTHONIOENCODING": "utf-8",
}


def processes_of(folder: Path) -> list[str]:
    """The processes whose environment names the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder).encode() in (process / "environ").read_bytes():
                found.append(process.name)
        except OSError:
            continue
    return [pid for pid in found if int(pid) != os.getpid()]


def test_the_demo_can_be_stopped_and_shows_the_whole_job(tmp_path: Path) -> None:
    """Ctrl-C leaves no process. Run again in the same folder it ends with a table and charts that fit 80 columns."""
    with subprocess.Popen(DEMO, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while "starts the service" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        stopped = process.stdout.read()
    assert process.returncode == 130
    assert "Traceback" not in stopped
    assert processes_of(tmp_path) == []
    done = subprocess.run(DEMO, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, timeout=300, check=False)
    said = done.stdout.decode()
    assert done.returncode == 0, said + (tmp_path / "demo-output" / "service.log").read_text("utf-8")
    assert (tmp_path / "demo-output" / "views.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "demo-output" / "views.csv").read_text("utf-8").startswith("day,video_title,views,")
    assert all(len(line) <= 80 for line in said.splitlines() if str(tmp_path) not in line)
    assert "Views by day" in said
    assert processes_of(tmp_path) == []


def test_a_folder_that_is_not_a_demos_is_left_alone(tmp_path: Path) -> None:
    """Somebody's own demo-output is never emptied."""
    (tmp_path / "demo-output").mkdir()
    (tmp_path / "demo-output" / "mine.txt").write_text("mine")
    done = subprocess.run(DEMO, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, timeout=300, check=False)
    assert done.returncode == 2
    assert (tmp_path / "demo-output" / "mine.txt").read_text() == "mine"
