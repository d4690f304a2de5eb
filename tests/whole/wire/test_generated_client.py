"""The page that generates a client: its files and commands as they stand there, against a real service."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from tests.npm_programs import HOME, link_packages

from .conftest import Wire

PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "generate-a-client.md").read_text("utf-8")
FILES = re.findall(r"^```\w+ file=(\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
INSTALLED = set(
    re.findall(
        r" ((?:@[\w-]+/)?[a-z][\w-]+)(?:@\d+)?(?= |$)",
        "\n".join(re.findall(r"^npm install(.*)$", PAGE, re.MULTILINE)),
        re.MULTILINE,
    )
)
(COMMANDS,) = re.findall(r"^```sh test=generate\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.long
def test_a_generated_client_is_sound_and_speaks_with_the_service(wire: Wire, tmp_path: Path) -> None:
    """Both generators take the descriptions, the type checker takes the program, and it asks for a report."""
    locked = json.loads((HOME / "package.json").read_text("utf-8"))["dependencies"] if HOME.is_dir() else {}
    link_packages(tmp_path)
    assert set(locked) >= INSTALLED
    (tmp_path / "package.json").write_text('{"type": "module"}', "utf-8")
    for name, text in FILES:
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, "utf-8")
    environment = {"REELPORT_URL": wire.service.url, "REELPORT_TOKEN": wire.fresh()}
    words = ["/usr/bin/env", *(f"{name}={value}" for name, value in environment.items()), "bash", "-e", "-c", COMMANDS]
    done = subprocess.run(words, cwd=tmp_path, check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] in {"queued", "running", "finished"}
    mistaken = tmp_path / "src" / "report.ts"
    mistaken.write_text(mistaken.read_text("utf-8").replace("'VIEWS'", "'VIEWZ'"), "utf-8")
    check = next(line for line in COMMANDS.splitlines() if line.startswith("npx tsc"))
    done = subprocess.run(
        ["/usr/bin/env", "bash", "-c", check], cwd=tmp_path, check=False, capture_output=True, text=True, timeout=600
    )
    assert done.returncode != 0
    assert "VIEWZ" in done.stdout
