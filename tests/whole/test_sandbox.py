"""`reelport sandbox` as a process: what it prints works when it is pasted, and it leaves nothing."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx2
import pytest
from tests import forked
from tests.cases import thin_out
from tests.patience import PATIENCE, until
from tests.whole.test_client_demo import ENVIRONMENT, processes_of, sign_in

SANDBOX = [sys.executable, "-m", "reelport", "sandbox"]


@dataclass
class Sandbox:
    """A sandbox that runs, and what it has printed."""

    process: subprocess.Popen[str]
    said: str

    @property
    def lines(self) -> list[str]:
        """The lines for a shell."""
        return [line for line in self.said.splitlines() if line.startswith("export ") or "curl -s" in line]

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """Stop it, and wait until it has ended well, or was killed."""
        self.process.send_signal(number)
        self.process.wait(300)
        assert self.process.returncode == (-number if number == signal.SIGKILL else 0)


@contextmanager
def run_sandbox(folder: Path, *options: str) -> Iterator[Sandbox]:
    """Run a sandbox in a folder, whose temporary files lie there too, until the block's end or until it is stopped."""
    (folder / "tmp").mkdir(exist_ok=True)
    environment = ENVIRONMENT | {"TMPDIR": str(folder / "tmp")}
    words = [*SANDBOX, *options]
    with (
        (folder / "errors").open("w") as errors,
        subprocess.Popen(
            words, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=errors, encoding="utf-8"
        ) as process,
    ):
        assert process.stdout is not None
        said = ""
        while "Ctrl-C ends it" not in said and not said.startswith("{"):
            line = process.stdout.readline()
            assert line, (folder / "errors").read_text()
            said += line
        try:
            yield Sandbox(process, said)
        finally:
            process.terminate()


def paste(folder: Path, lines: list[str], shell: str = "sh") -> str:
    """Paste lines into a shell of a folder; return what it shows."""
    words = [shell, "-eu", "-c", "\n".join(lines)]
    return subprocess.run(words, cwd=folder, stdout=subprocess.PIPE, encoding="utf-8", check=True, timeout=300).stdout


@pytest.mark.long
def test_the_lines_that_a_sandbox_prints_work_and_nothing_is_left(tmp_path: Path) -> None:
    """Pasted, they get a token, a report and its file, and see a mistake explained. After Ctrl-C nothing is there."""
    with run_sandbox(tmp_path) as sandbox:
        shown = paste(tmp_path, sandbox.lines)
        assert len(sandbox.lines) == 6
        assert (tmp_path / "report.csv").read_text().startswith("day,video_owner_channel_slug,views,")
        assert len((tmp_path / "report.csv").read_text().splitlines()) == 1 + 3 * 7
        assert "Did you mean VIEWS?" in shown
        checked = paste(tmp_path, [sandbox.lines[0], f"{sys.executable} -m reelport check 2>&1"])
        assert sandbox.said.partition("address ")[2].split()[0] in checked  # our client knows the variables as well
        found = re.search(r"e-mail +(\S+)\npassword +(\S+)\nStudio +(http://127\.0\.0\.1:\d+)/studio", sandbox.said)
        assert found, sandbox.said
        sign_in(found[3], found[1], found[2])
        for page, kind in (("/graphql", "text/html"), ("/openapi.json", "application/json")):
            assert f"{found[3]}{page}\n" in sandbox.said
            answer = httpx2.get(found[3] + page, headers={"Accept": kind}, timeout=PATIENCE)
            assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, kind)
        sandbox.stop()
    assert list((tmp_path / "tmp").iterdir()) == []
    assert until(lambda: processes_of(tmp_path) == [])


@pytest.mark.long
@pytest.mark.parametrize("number", thin_out([signal.SIGINT, signal.SIGTERM, signal.SIGHUP], 3))
def test_a_sandbox_that_is_stopped_while_it_is_made_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C, a plain kill and the end of the terminal end it as soon as it has begun to load."""
    (tmp_path / "tmp").mkdir()
    environment = ENVIRONMENT | {"TMPDIR": str(tmp_path / "tmp")}
    with subprocess.Popen(SANDBOX, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL) as process:
        assert until(lambda: list((tmp_path / "tmp").glob("*/service/facts")) != [])
        process.send_signal(number)
        try:
            process.wait(300)
        finally:
            process.kill()
    assert process.returncode == 128 + number
    assert list((tmp_path / "tmp").iterdir()) == []
    assert until(lambda: processes_of(tmp_path) == [])


def test_a_sandbox_may_be_a_vendor_that_misbehaves(tmp_path: Path) -> None:
    """It says whom it imitates. The first download is cut, and the second ask refused, which the line shows."""
    with run_sandbox(tmp_path, "--misbehave", "cut,refuse") as sandbox:
        assert re.search("^imitates +Dailymotion$", sandbox.said, re.MULTILINE)
        *begun, ask, look, download = sandbox.lines
        cut = [*begun, ask, look, f"{download.partition(' && ')[0]} || echo status $?"]
        assert paste(tmp_path, cut).splitlines()[-1] == "status 18"  # curl's, of a file that ended too early
        assert "Too many reports are being generated." in paste(tmp_path, [*begun, ask])
        whole = paste(tmp_path, [*begun, ask, look, download])
        assert "day,video_owner_channel_slug,views,time_watched_seconds" in whole
        sandbox.stop()


@pytest.mark.long
def test_a_vendor_may_be_slow_and_let_everything_expire(tmp_path: Path) -> None:
    """The report is in progress first; then its link, its token and the report itself end, and a new ask works."""
    with run_sandbox(tmp_path, "--misbehave", "slow,expire") as sandbox:
        variables, token, ask, look, _ = sandbox.lines
        assert paste(tmp_path, [variables, token, ask, look]).splitlines()[-1].count("IN_PROGRESS") == 1
        report = paste(tmp_path, [variables, token, ask]).splitlines()[-1]
        state = partial(paste, tmp_path, [variables, token, f"report={report}", look])
        assert until(lambda: "FINISHED" in state(), pause=1)
        link = re.search(r'"link": *"([^"]+)"', state())
        assert link is not None
        status = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", link[1]]
        assert until(lambda: subprocess.run(status, stdout=subprocess.PIPE, check=True).stdout == b"403", pause=1)
        assert until(lambda: "EXPIRED" in state(), pause=1)
        bearer = paste(tmp_path, [variables, token]).strip()
        asking = [variables, f"token={bearer}", f"report={report}", look]
        assert until(lambda: "invalid_token" in paste(tmp_path, asking), pause=1)
        sandbox.stop()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--misbehave", "cutt"], "Did you mean cut?"),
        (["--port", "70000"], "from 1 to 65,535"),
    ],
)
def test_options_that_cannot_be_are_refused_before_anything_is_made(
    tmp_path: Path, options: list[str], sentence: str
) -> None:
    """Each ends with status 2 and says what to give."""
    done = forked.run([*SANDBOX[1:], *options], cwd=tmp_path, env=ENVIRONMENT, loads=forked.COMMANDS)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert list(tmp_path.rglob("*")) == []


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    """Two sandboxes can't listen on one port: the second says so, and what to do."""
    with run_sandbox(tmp_path, "--misbehave", "slow") as sandbox:
        port = sandbox.said.partition("http://127.0.0.1:")[2].partition("\n")[0]
        done = forked.run([*SANDBOX[1:], "--port", port], loads=forked.COMMANDS)
    assert done.returncode == 2
    assert f"{port} is in use by another program" in done.stderr
