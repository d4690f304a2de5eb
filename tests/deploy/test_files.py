"""Units and proxies: the programs that read them take them as they are."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cases import thin_out
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
