"""The tour of Studio: its commands run as written, its pictures are there and small."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.forked import command_folder
from tests.warm_service import Service

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
