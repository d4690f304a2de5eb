"""Commands of the operators' pages that change a machine: run as they are written, in a root with its own systemd."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.deploy.booted_root import Machine, boot, install_version
from tests.deploy.programs import EXAMPLE, find_tool, make_certificate
from tests.deploy.second_machine import start_second
from tests.operate_pages import read_marked

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
PLACE = "root"
VERSIONS = ("reelport-0.1.0", "reelport-NEW")
BY_HAND = "reelport() { "
LATER = ("systemctl edit", "sudo ")
WELL = "curl --silent --fail --retry 300 --retry-delay 1 --retry-all-errors http://127.0.0.1:8642/health"
PAM = ("auth", "account", "session")
EDITOR = """#!/bin/sh
for file; do
    case $file in +*) ;; *)
        text='[Unit]\\nRequiresMountsFor=/srv/reelport\\n[Service]\\nReadWritePaths=/srv/reelport'
        sed -i "/Anything between here/a $text" "$file"
    esac
done
"""


def read_commands(page: str) -> list[str]:
    """The commands of a page that are marked for it, in their order."""
    return read_marked(PLACE, page)


def run(machine: Machine, *lines: str, terminal: bool = False) -> str:
    """Run lines of a shell in one, with the page's command by hand; give what they printed."""
    (by_hand,) = [line for line in read_commands("install") if line.startswith(BY_HAND)]
    done = machine.run("\n".join([by_hand, *lines]), terminal=terminal)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def states(machine: Machine, *units: str) -> list[str]:
    """What systemd says of units."""
    return machine.run(f"systemctl is-active {' '.join(units)}").stdout.split()


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine on which all of the page on installing was done, but for what has a test of its own."""
    for program in ("useradd", "systemctl", "curl"):
        if shutil.which(program, path="/usr/sbin:/usr/bin") is None:
            pytest.skip(f"{program} is not installed")
    folder = tmp_path_factory.mktemp("machine")
    for name in VERSIONS:
        install_version(folder, name)
    with boot(folder) as machine:
        lines = [line for line in read_commands("install") if not line.startswith(LATER)]
        run(machine, *lines, WELL)
        yield machine


@pytest.fixture(scope="module")
def second(machine: Machine) -> Path:
    """The root of another machine, by the names that the pages give it."""
    for program, package in (("ssh", "openssh-client"), ("scp", "openssh-client"), ("rsync", "rsync")):
        find_tool(program, package)
    return start_second(machine, "api.internal", "elsewhere")


def test_a_machine_is_prepared_as_the_page_on_installing_says(machine: Machine) -> None:
    """User, directories, units and the link to the version: theirs alone, and started with the machine."""
    look = "stat -c '%U %a' /var/lib/reelport /var/backups/reelport /etc/reelport"
    assert run(machine, look).splitlines() == ["reelport 700", "reelport 700", "root 755"]
    assert states(machine, "reelport", "reelport-backup.timer") == ["active", "active"]
    enabled = {path.name for path in (machine.folder / "etc" / "systemd" / "system").glob("*.wants/*")}
    assert enabled == {"reelport.service", "reelport-backup.timer"}


def test_a_command_by_hand_has_the_services_settings_and_is_one_that_ctrl_c_ends(machine: Machine) -> None:
    """In a terminal, where `--pipe` alone would leave it running; elsewhere systemd takes the pipe."""
    (line,) = [line for line in read_commands("install") if line.startswith(BY_HAND)]
    assert {"--pty", "--pipe", "--wait", "--collect"} <= set(line.split())
    assert "acme" in run(machine, "reelport org add acme", "reelport org list | cat")
    assert "acme" in run(machine, "reelport org list", terminal=True)


def test_a_command_by_hand_is_run_by_sudo(machine: Machine) -> None:
    """As the service's user, over its data directory."""
    find_tool("sudo", "sudo")
    (line,) = [line for line in read_commands("install") if line.startswith("sudo ")]
    etc = machine.folder / "etc"
    (etc / "pam.d").mkdir()
    (etc / "pam.d" / "sudo").write_text("".join(f"{kind} required pam_permit.so\n" for kind in PAM))
    (etc / "sudoers").write_text("root ALL=(ALL:ALL) ALL\n")
    (etc / "sudoers").chmod(0o440)
    assert re.fullmatch(r"\d+\.\d+\.\d+.*\n", run(machine, line))
    assert "sudo\n" in run(machine, "reelport org add sudo", line.replace("--version", "org list | cat"))


def test_a_version_is_tried_and_switched_to(machine: Machine) -> None:
    """Its units lie in the place of older ones, and the service that answers is of the new one."""
    age = "for unit in /etc/systemd/system/reelport*; do test -d $unit || echo >> $unit; done"
    compare = "for unit in deploy/systemd/*; do cmp $unit /etc/systemd/system/${unit##*/}; done"
    run(machine, age, *read_commands("upgrade"), compare, WELL)
    look = (
        "tr '\\0' '\\n' < /proc/$(systemctl show --property MainPID --value reelport)/cmdline; readlink /opt/reelport"
    )
    shown = run(machine, look).splitlines()
    assert (shown[0], shown[-1]) == ("/opt/reelport-NEW/bin/python", "/opt/reelport-NEW")


def test_all_processes_stop_for_a_new_secret(machine: Machine) -> None:
    """The worker's unit of its own too; both come back by the page's line and theirs."""
    stop, start = read_commands("secrets")
    run(machine, "systemctl start reelport-worker@1", stop)
    assert states(machine, "reelport", "reelport-worker@1") == ["inactive", "inactive"]
    run(machine, start, WELL)
    assert states(machine, "reelport", "reelport-worker@1") == ["active", "inactive"]


def test_a_worker_has_a_unit_of_its_own(machine: Machine) -> None:
    """It starts with the machine, and stops before a state is moved."""
    stop, _, enable = read_commands("several-machines")
    run(machine, enable)
    assert states(machine, "reelport-worker@1") == ["active"]
    assert run(machine, "systemctl is-enabled reelport-worker@1") == "enabled\n"
    run(machine, stop)
    assert states(machine, "reelport", "reelport-worker@1") == ["inactive", "inactive"]
    run(machine, "systemctl disable reelport-worker@1", "systemctl start reelport", WELL)


def test_last_nights_backup_is_seen(machine: Machine) -> None:
    """When the timer comes next, and that the unit's backup was restored and compared."""
    run(machine, "systemctl start reelport-backup", "journalctl --sync")
    said = run(machine, *read_commands("monitoring"))
    assert "reelport-backup.service" in said
    assert "restored, and every file of it is whole" in said


def test_a_night_that_fails_reaches_you(machine: Machine) -> None:
    """By a line of the journal, and by a program of yours."""
    (machine.folder / "unit-failed").write_text('#!/bin/sh\necho "the pager calls for $1"\n')
    _, *lines, look = read_commands("backup")
    said = run(machine, *lines, "journalctl --sync", look)
    assert "reelport-backup has failed: see journalctl -u reelport-backup" in said
    assert "the pager calls for reelport-backup" in said


def test_another_machines_settings_are_fetched(machine: Machine, second: Path) -> None:
    """Of the service, for a machine of workers alone: root's, as they were there."""
    _, fetch, _ = read_commands("several-machines")
    there = second / "etc" / "reelport"
    there.mkdir()
    (there / "reelport.env").write_text("REELPORT_SECRET=of-the-service\n")
    (there / "reelport.env").chmod(0o600)
    run(machine, fetch)
    assert run(machine, "cat /etc/reelport/reelport.env") == "REELPORT_SECRET=of-the-service\n"
    assert run(machine, "stat -c '%U %a' /etc/reelport/reelport.env; rm /etc/reelport/reelport.env") == "root 600\n"


def test_a_backup_that_was_taken_to_another_machine_is_whole(machine: Machine, second: Path) -> None:
    """It is restored from there, and a second copy brings what is new."""
    take, *_ = read_commands("backup")
    run(machine, "ln -s /var/backups/reelport backups")
    for name in ("before", "after"):
        run(machine, f"reelport org add {name}", "systemctl start reelport-backup", take)
    copied = "/var/backups/copied"
    shutil.move(second / "root" / "reelport", machine.folder / copied[1:])
    said = run(machine, f"chown -R reelport: {copied}", f"reelport verify-backup {copied} | cat")
    assert "every file of it is whole" in said
    made = "install -d -o reelport -g reelport -m 700 /srv/copied; cp -p /var/lib/reelport/secret.key /srv/copied"
    run(machine, made, f"reelport restore {copied} --data /srv/copied")
    assert "after" in run(machine, "reelport org list --data /srv/copied | cat")


def test_a_reports_lines_are_in_the_journal(machine: Machine) -> None:
    """Of a report that a partner fetched, by the id that the queue shows."""
    ask = "report run --metrics VIEWS --dimensions DAY --start 2026-09-01 --end 2026-09-01"
    run(machine, "reelport sample --start 2026-09-01 --end 2026-09-01 --rows 100")
    key = json.loads(run(machine, "reelport key create --org demo --permissions create_reports,read_reports --json"))
    mine = f"REELPORT_API_KEY={key['id']} REELPORT_API_SECRET={key['secret']}"
    run(machine, f"REELPORT_URL=http://127.0.0.1:8642 {mine} /opt/reelport/bin/reelport {ask}")
    (report, *_) = json.loads(run(machine, "reelport queue list --all --json"))
    (look,) = read_commands("troubleshooting")
    said = run(machine, "journalctl --sync", look.replace("REPORT", report["report"]))
    assert "report finished" in {json.loads(line)["event"] for line in said.splitlines()}


def test_nginx_takes_the_example_where_it_belongs(machine: Machine) -> None:
    """With a certificate of the test's in the place of yours."""
    find_tool("nginx", "nginx")
    etc = machine.folder / "etc"
    for name in ("nginx/conf.d", "ssl/reports.example.com"):
        (etc / name).mkdir(parents=True)
    (etc / "nginx" / "nginx.conf").write_text("events {}\nhttp { include conf.d/*.conf; }\n")
    shutil.copy(EXAMPLE, etc / "nginx" / "conf.d")
    make_certificate(etc / "ssl" / "reports.example.com", "reports.example.com")
    run(machine, "install -d /var/log/nginx /var/lib/nginx", *read_commands("proxy"))


def test_the_data_directory_is_moved_by_drop_ins(machine: Machine) -> None:
    """The page's editor writes what the page says: then the service runs over another directory."""
    (line,) = [line for line in read_commands("install") if line.startswith("systemctl edit")]
    editor = machine.folder / "root" / "editor"
    editor.write_text(EDITOR)
    editor.chmod(0o755)
    run(machine, f"SYSTEMD_EDITOR=$HOME/editor {line}", terminal=True)
    make = "install -d -o reelport -g reelport -m 700 /srv/reelport"
    run(
        machine,
        make,
        "echo REELPORT_DATA=/srv/reelport > /etc/reelport/reelport.env",
        "systemctl restart reelport",
        WELL,
    )
    assert run(machine, "ls /srv/reelport/state.db") == "/srv/reelport/state.db\n"
    cat = run(machine, "systemctl cat reelport reelport-worker@ reelport-backup")
    assert cat.count("ReadWritePaths=/srv/reelport") == 3
