"""Commands of the operators' pages that change a machine: run as they are written, in a root of its own."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from tests.deploy.empty_root import make_empty_root

ROOT = Path(__file__).parents[2]
LINE = re.compile(r"^(.*\S) +# run by a test in a root of its own$", re.MULTILINE)


def read_commands(page: str) -> str:
    """The commands of a page that are marked for it, in their order."""
    found = LINE.findall((ROOT / "docs" / "operate" / f"{page}.md").read_text("utf-8"))
    assert found
    return "\n".join(found)


@pytest.fixture(autouse=True)
def _systemd_is_there() -> None:
    for program in ("useradd", "systemctl"):
        if shutil.which(program, path="/usr/sbin:/usr/bin") is None:
            pytest.skip(f"{program} is not installed")


def test_a_command_by_hand_is_one_that_ctrl_c_ends() -> None:
    """In a terminal, where `--pipe` alone would leave it running; elsewhere systemd takes the pipe."""
    text = (ROOT / "docs" / "operate" / "install.md").read_text("utf-8")
    (line,) = re.findall(r"^reelport\(\) \{ (systemd-run .+) \}", text, re.MULTILINE)
    assert {"--pty", "--pipe", "--wait", "--collect"} <= set(line.split())


def test_a_machine_is_prepared_as_the_pages_say(tmp_path: Path) -> None:
    """User, directories, units and the link to the version: theirs alone, started with the machine, and switched."""
    root = make_empty_root(tmp_path)
    for name in ("opt/reelport-0.1.0", "opt/reelport-NEW", "var/backups", "etc/systemd/system"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "etc" / "login.defs").write_text("USERGROUPS_ENAB yes\n")
    (tmp_path / "etc" / "group").write_text("root:x:0:\n")
    shutil.copytree(ROOT / "deploy" / "systemd", tmp_path / "deploy" / "systemd")
    look = "stat -c '%U %a' /var/lib/reelport /var/backups/reelport /etc/reelport; readlink /opt/reelport"
    age = "for unit in /etc/systemd/system/reelport*; do echo >> $unit; done"  # those of an older version
    compare = "for unit in deploy/systemd/*; do cmp $unit /etc/systemd/system/${unit##*/}; done"
    steps = [read_commands("install"), look, age, read_commands("upgrade"), "readlink /opt/reelport", compare]
    script = "\n".join(steps)
    done = root.run(script, {"PATH": "/usr/sbin:/usr/bin:/bin"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        *("reelport 700", "reelport 700", "root 755"),
        *("/opt/reelport-0.1.0", "/opt/reelport-NEW"),
    ]
    started = {path.name for path in (tmp_path / "etc" / "systemd" / "system").glob("*.wants/*")}
    assert started == {"reelport.service", "reelport-backup.timer"}
