"""`make demo`'s program does the whole main job; the tour of Studio runs as written and has its pictures."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest
from tests.forked import command_folder
from tests.patience import PATIENCE, until
from tests.warm_service import Service

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


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder, with the bytes of those that are files."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def home_of_a_user(folder: Path) -> dict[str, str]:
    """The environment of a user with a ledger, a profile and a cache of their own."""
    places = {"HOME": "", "XDG_CONFIG_HOME": "config", "XDG_CACHE_HOME": "cache"}
    places |= {"XDG_DATA_HOME": "data", "XDG_STATE_HOME": "state"}
    for name in (*places.values(), ".reelport"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / ".reelport" / "ledger.db").write_bytes(b"somebody's own")
    (folder / ".reelport" / "profiles.toml").write_text("")
    return ENVIRONMENT | {name: str(folder / place) for name, place in places.items()}


def run_with_studio(folder: Path, environment: dict[str, str]) -> str:
    """Run the demo, sign in to Studio as it says, and stop it: all that it said."""
    words = [*DEMO, "--studio"]
    with subprocess.Popen(words, cwd=folder, env=environment, stdout=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stdout is not None
        said = ""
        while "Ctrl-C ends it" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        found = re.search(r"Studio +(http://127\.0\.0\.1:\d+)/studio\n +e-mail +(\S+)\n +password (\S+)", said)
        assert found, said
        sign_in(*found.groups())
        process.send_signal(signal.SIGINT)
        said += process.stdout.read()
    assert process.returncode == 0, said
    return said


def sign_in(host: str, email: str, password: str) -> None:
    """Sign in as a browser would."""
    with httpx2.Client(base_url=host, follow_redirects=True, timeout=PATIENCE) as browser:
        page = browser.get("/studio").text
        csrf = page.partition('name="csrf" value="')[2].partition('"')[0]
        page = browser.post("/studio/sign-in", data={"csrf": csrf, "email": email, "password": password}).text
    assert "Sign out" in page


@pytest.mark.long
def test_the_demo_can_be_stopped_and_shows_the_whole_job(tmp_path: Path) -> None:
    """Ctrl-C leaves no process. Run again in the same folder it ends with a table and charts that fit 80 columns.

    It leaves Studio open where it is told to, and then says how to open it again. Titles are whole. Nothing in the home
    of the user changes: no ledger, no profile, no folder of XDG.
    """
    environment = home_of_a_user(tmp_path / "home")
    before = contents(tmp_path / "home")
    with subprocess.Popen(DEMO, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while "The platform" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        stopped = process.stdout.read()
    assert process.returncode == 130
    assert "Traceback" not in stopped
    assert until(lambda: processes_of(tmp_path) == [])
    said = run_with_studio(tmp_path, environment)
    assert (tmp_path / "demo-output" / "views.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "demo-output" / "views.csv").read_text("utf-8").startswith("day,video_title,views,")
    assert all(len(line) <= 80 for line in said.splitlines() if str(tmp_path) not in line)
    assert "Views by day" in said
    assert "All that was started is stopped." in said.partition("serve --data ")[2]
    assert "…" not in said.partition("The first rows of")[2]
    assert contents(tmp_path / "home") == before
    assert (tmp_path / "demo-output" / "ledger.db").stat().st_size > 0
    assert until(lambda: processes_of(tmp_path) == [])


@pytest.mark.parametrize("name", ["mine.txt", ".made-by-reelport-demo"])
def test_a_folder_that_is_not_a_demos_is_left_alone(tmp_path: Path, name: str) -> None:
    """Somebody's own demo-output is never emptied; a demo's mark is an empty file."""
    (tmp_path / "demo-output" / "own").mkdir(parents=True)
    (tmp_path / "demo-output" / name).write_text("mine")
    done = subprocess.run(DEMO, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, timeout=300, check=False)
    assert done.returncode == 2
    assert (tmp_path / "demo-output" / name).read_text() == "mine"
    assert (tmp_path / "demo-output" / "own").is_dir()


ROOT = Path(__file__).parents[2]
TOUR = ROOT / "docs" / "tutorial" / "a-tour-of-studio.md"
PICTURES = TOUR.parent / "pictures"
PASSWORD = "a long enough password"  # noqa: S105 - of a test alone
MOST_BYTES, MOST_PIXELS = 600_000, 1000


def blocks() -> list[str]:
    """The blocks of commands of the page."""
    return re.findall(r"^```sh\n(.*?)^```$", TOUR.read_text("utf-8"), re.DOTALL | re.MULTILINE)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The command on the path, in a home of its own."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("REELPORT_")}
    own["REELPORT_HOME"] = os.environ["REELPORT_HOME"]
    path = os.pathsep.join((str(command_folder()), str(Path(sys.executable).parent), os.environ["PATH"]))
    return own | {"PATH": path, "HOME": str(tmp_path), "REELPORT_DATA": str(tmp_path / "data")}


def run(text: str, environment: dict[str, str], folder: Path) -> str:
    """Run commands, which all must end well; what they print."""
    # A test has no terminal: the password, which is asked for there, comes by the input.
    text = re.sub(r"^(reelport user add .*)$", rf"\1 --password-stdin <<< '{PASSWORD}'", text, flags=re.MULTILINE)
    words = ["bash", "-eu", "-c", text]
    done = subprocess.run(words, env=environment, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.long
def test_the_commands_of_the_tour_run(environment: dict[str, str], tmp_path: Path) -> None:
    """On a service of one's own, with a key as its page gives it; `make demo` has a test of its own."""
    demo, own, key, *others = blocks()
    assert demo == "make demo STUDIO=1\n"
    prepare, command = own.split("reelport serve")
    assert command == "\n"
    run(prepare, environment, tmp_path)
    with Service(tmp_path / "data", workers=1) as service:
        # The days that are counted back from today have facts, too.
        yesterday = datetime.now(UTC).date() - timedelta(days=1)
        service.sample(yesterday - timedelta(days=2), yesterday, rows=500, seed=2)
        made = service.key("demo")
        lines = (f"REELPORT_URL={service.url}", f"REELPORT_API_KEY={made.id}", f"REELPORT_API_SECRET={made.secret}")
        (tmp_path / "key.env").write_text("\n".join(lines), "utf-8")
        assert run(key, environment, tmp_path).startswith("day,views\n")
        assert (tmp_path / "october.csv").read_text("utf-8").startswith("day,video_title,views,time_watched_seconds\n")
        for each in others:
            said = run(each, environment, tmp_path)
    assert "olga@platform.example" in said


def test_the_pictures_of_the_tour_are_there_and_small() -> None:
    """Each that is shown exists, each that exists is shown; 600 kB all together, 1000 pixels wide at most."""
    shown = set(re.findall(r"pictures/([\w-]+\.png)", TOUR.read_text("utf-8")))
    files = sorted(PICTURES.iterdir())
    assert {file.name for file in files} == shown
    assert sum(file.stat().st_size for file in files) < MOST_BYTES
    for file in files:
        head = file.read_bytes()[:24]
        assert head[:8] == b"\x89PNG\r\n\x1a\n"
        assert int.from_bytes(head[16:20]) <= MOST_PIXELS
