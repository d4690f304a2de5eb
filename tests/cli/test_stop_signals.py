"""A command that is stopped before it has begun: at whatever moment, a line, its status, and nothing false."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.cases import thin_out
from tests.patience import PATIENCE

ASK = ("report", "run", "--metrics", "VIEWS", "--start", "2026-10-01", "--end", "2026-10-07")
STOPS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
NOTHING = "reelport: Interrupted before anything was asked for."


_STOPPING = """
import os, sys

module, *stops = os.environ["STOPPED_AFTER"].split()

def stop(event, _):
    found = sys.modules.get(module)
    if event == "import" and found is not None and not found.__spec__._initializing:
        while stops:
            os.kill(os.getpid(), int(stops.pop(0)))

sys.addaudithook(stop)
"""
"""What Python runs before the program: the stops come at the next import, however busy the machine is."""


def stopped(
    folder: Path, words: Sequence[str], module: str, *stops: signal.Signals, before: str = "exec"
) -> tuple[int, str, list[str]]:
    """A command that gets signals when it has just imported a module: its status, its stdout, its words on stderr."""
    (folder / "sitecustomize.py").write_text(_STOPPING)
    environment = os.environ | {
        "PYTHONPATH": str(folder),
        "STOPPED_AFTER": " ".join([module, *(str(stop.value) for stop in stops)]),
    }
    command = ["/bin/sh", "-c", f'{before} "$@"', "sh", sys.executable, "-m", "reelport", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
    return done.returncode, done.stdout, done.stderr.splitlines()


@pytest.mark.parametrize(("stop", "status"), thin_out(STOPS, 3))
@pytest.mark.parametrize("module", thin_out(["reelport.cli.arguments.options", "reelport.query", "reelport.errors"], 3))
def test_a_stop_in_the_imports_ends_in_one_line(tmp_path: Path, module: str, stop: signal.Signals, status: int) -> None:
    """No traceback; a status as shells have it; no command to go on with, for nothing was begun."""
    assert stopped(tmp_path, ASK, module, stop) == (status, "", [NOTHING])


def test_a_program_is_told_of_an_early_stop_as_of_any_end(tmp_path: Path) -> None:
    """The result is the last event, and stderr holds nothing beside it."""
    status, out, said = stopped(tmp_path, [*ASK, "--json"], "reelport.errors", signal.SIGTERM)
    (line,) = said
    result = json.loads(line)
    assert (status, out) == (143, "")
    assert (result["event"], result["status"], result["code"]) == ("result", 143, "interrupted")
    assert "resume" not in result


@pytest.mark.parametrize(("stop", "status"), thin_out(STOPS, 4))
@pytest.mark.parametrize("words", thin_out(["serve --port 0", "auth status", "jobs list", "tables"], 4))
def test_any_command_can_be_stopped_in_its_imports(
    tmp_path: Path, words: str, stop: signal.Signals, status: int
) -> None:
    """Those of a platform too."""
    assert stopped(tmp_path, words.split(), "reelport.errors", stop) == (status, "", ["reelport: interrupted"])


def test_who_is_stopped_twice_is_gone_at_once(tmp_path: Path) -> None:
    """The imports are not waited for."""
    status, _, said = stopped(tmp_path, ASK, "reelport.errors", signal.SIGINT, signal.SIGTERM)
    assert (status, said) == (143, ["reelport: interrupted"])


def test_a_stop_that_is_to_be_ignored_is_ignored(tmp_path: Path) -> None:
    """As under nohup, or in the background of a script."""
    words, deaf = ["fields", "list"], "trap '' INT; exec"
    status, out, said = stopped(tmp_path, words, "reelport.errors", signal.SIGINT, before=deaf)
    assert (status, said) == (0, [])
    assert out.startswith("kind\t")


@pytest.mark.parametrize("end", ["exit_on_stop(130)", "ignore_stops()"])
def test_a_stop_in_code_that_is_made_from_text_ends_with_its_status(tmp_path: Path, end: str) -> None:
    """As of a dataclass in the imports: a program that Python runs by -m would end by the signal."""
    stopping = "import os, signal; os.kill(os.getpid(), signal.SIGINT); [each for each in range(9)]"
    lines = [
        "import sys",
        "from reelport.cli import stop_signals",
        "stop_signals.install_handlers()",
        "try:",
        f"    exec({stopping!r})",
        "except KeyboardInterrupt:",
        f"    stop_signals.{end}",
        "    sys.exit(130)",
    ]
    (tmp_path / "stopped.py").write_text("\n".join(lines))
    done = subprocess.run([sys.executable, "-m", "stopped"], cwd=tmp_path, timeout=PATIENCE, check=False)
    assert done.returncode == 130


@pytest.mark.parametrize(("stop", "status"), thin_out(STOPS, 4))
def test_a_stop_while_settings_are_read_ends_in_one_line(tmp_path: Path, stop: signal.Signals, status: int) -> None:
    """Here from a pipe that says nothing."""
    sheet = tmp_path / "reelport.toml"
    os.mkfifo(sheet)
    command = [sys.executable, "-m", "reelport", "sync", "run", "--file", str(sheet)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        writer = _opened(sheet)
        _wait_for_its_reading(process.pid, writer)
        process.send_signal(stop)
        out, said = process.communicate(timeout=300)
    os.close(writer)
    assert (process.returncode, out, said) == (status, "", f"{NOTHING}\n")


def _opened(pipe: Path) -> int:
    """The writing end of a pipe, once somebody reads."""
    until = time.monotonic() + 300
    while time.monotonic() < until:
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            time.sleep(0.01)
    raise TimeoutError(pipe)


def _wait_for_its_reading(pid: int, writer: int) -> None:
    """Until the process has read what is in the pipe, and sleeps for more: Python can't hear a stop just before."""
    os.write(writer, b"#")
    until = time.monotonic() + 300
    while time.monotonic() < until:
        left = int.from_bytes(fcntl.ioctl(writer, termios.FIONREAD, bytes(4)), sys.byteorder)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        if not left and state == "S":
            return
        time.sleep(0.01)
    raise TimeoutError(pid)
