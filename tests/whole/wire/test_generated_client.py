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
@pytest.mark.nightly
def test_a_generated_client_is_sound_and_speaks_with_the_service(wire: Wire, tmp_path: Path) -> None:
    """Both generators take the descriptions, the program is sound and asks for a report; a wrong metric is no metric.

    The type checker looks at both programs at once: it fails where the line of the wrong metric has no error.
    """
    locked = json.loads((HOME / "package.json").read_text("utf-8"))["dependencies"] if HOME.is_dir() else {}
    link_packages(tmp_path)
    assert set(locked) >= INSTALLED
    (tmp_path / "package.json").write_text('{"type": "module"}', "utf-8")
    for name, text in FILES:
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, "utf-8")
    program, expected = (tmp_path / "src" / "report.ts").read_text("utf-8"), "// @ts-expect-error\n"
    mistaken = re.sub(r"^(?=.*'VIEWS')", expected, program, flags=re.MULTILINE).replace("'VIEWS'", "'VIEWZ'")
    assert mistaken.count(expected) == 1
    (tmp_path / "src" / "mistaken.ts").write_text(mistaken, "utf-8")
    environment = {"REELPORT_URL": wire.service.url, "REELPORT_TOKEN": wire.fresh()}
    words = ["/usr/bin/env", *(f"{name}={value}" for name, value in environment.items()), "bash", "-e", "-c"]
    words.append(COMMANDS.replace(" src/report.ts", " src/report.ts src/mistaken.ts"))
    done = subprocess.run(words, cwd=tmp_path, check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] in {"queued", "running", "finished"}
