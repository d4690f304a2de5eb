"""A root of its own in which a systemd runs as the first process: units, journal and timers as on a machine.

It holds this machine's `/usr`, and the service with the interpreter and the libraries that run the tests, below `/opt`.
"""

from __future__ import annotations

import compileall
import shlex
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.deploy.empty_root import make_empty_root
from tests.patience import PATIENCE, until

ROOT = Path(__file__).parents[2]
SYSTEMD = Path("/usr/lib/systemd/systemd")
PROGRAMS = ("systemd", "systemctl", "journalctl", "dbus-daemon", "nsenter", "unshare", "setpriv", "script", "bash")
USERS = 65535
"""As many as an image's programs take for granted: without theirs, the bus never starts."""

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
FOLDERS = ("sys", "run", "root", "old", "etc/systemd/system", "var/backups", "var/log/journal", "opt/python", "opt/lib")
TARGET = "[Unit]\nRequires=basic.target dbus.service\nAfter=basic.target dbus.service\nAllowIsolate=yes\n"
BOOT = """
mount --make-rprivate /
mount --bind {root} {root}
bind() {{ mount --bind "$1" {root}$2; mount -o remount,bind,ro {root}$2; }}
bind /usr /usr
bind {base} /opt/python
bind {libraries} /opt/lib
mount -t proc proc {root}/proc
mount -t sysfs -o ro sysfs {root}/sys
mount -t cgroup2 cgroup2 {root}/sys/fs/cgroup
for name in run tmp dev; do mount -t tmpfs -o mode=755 tmpfs {root}/$name; done
chmod 1777 {root}/tmp
for name in {devices}; do : > {root}/dev/$name; mount --bind /dev/$name {root}/dev/$name; done
mkdir {root}/dev/pts {root}/dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts {root}/dev/pts
ln -s pts/ptmx {root}/dev/ptmx
ln -s /proc/self/fd {root}/dev/fd
mount -t tmpfs tmpfs {root}/dev/shm
cd {root}
pivot_root . old
umount -l /old
set -- --system --unit=tests.target --log-target=null --show-status=no
exec env -i container=reelport PATH=/usr/sbin:/usr/bin {systemd} "$@"
"""
# Ends with its stdin, and so also after tests that were killed: nobody else would remove the group then.
REMOVE = """
read -r _ || :
until find {group} -depth -type d -exec rmdir {{}} + || ! test -d {group}; do sleep 0.1; done
"""
NAMESPACES = ("--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child")


@dataclass(frozen=True)
class Machine:
    """A root whose systemd runs."""

    folder: Path
    first: int
    """The process that is the first one in it."""

    def run(self, script: str, *, terminal: bool = False) -> subprocess.CompletedProcess[str]:
        """Run a shell script in it, as root."""
        inner = ["/bin/bash", "-eu", "-o", "pipefail", "-c", script]
        if terminal:
            inner = ["/usr/bin/script", "--quiet", "--return", "--command", shlex.join(inner), "/dev/null"]
        environment = ["/usr/bin/env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TERM=dumb"]
        words = ["nsenter", "--target", str(self.first), "--all", *environment, *inner]
        return subprocess.run(words, capture_output=True, text=True, timeout=2 * PATIENCE, check=False)


@contextmanager
def boot(folder: Path) -> Iterator[Machine]:
    """A machine for the block, with a version of the service in `/opt`; skips where none can be started."""
    make_empty_root(folder)
    _fill(folder)
    script = BOOT.format(
        root=folder,
        base=sys.base_prefix,
        libraries=_find_libraries(),
        devices=" ".join(DEVICES),
        systemd=SYSTEMD,
    )
    log = folder.with_suffix(".log")
    with _control_group() as group, log.open("wb") as said:
        unshare = f"exec unshare {' '.join(NAMESPACES)} /bin/sh -eu -c {shlex.quote(script)}"
        enter = f"echo $$ > {group}/cgroup.procs\n{unshare}"
        words = ["/usr/bin/env", "setpriv", "--pdeathsig", "KILL", "/bin/sh", "-eu", "-c", enter]
        process = subprocess.Popen(words, stdout=said, stderr=said)
        try:
            machine = Machine(folder, _find_first(process, log))
            up = "systemctl is-active --quiet tests.target"
            assert until(lambda: machine.run(up).returncode == 0 or process.poll() is not None), log.read_text()
            assert process.poll() is None, log.read_text()
            assert machine.run("ldconfig").returncode == 0
            yield machine
        finally:
            process.kill()
            process.wait()


def install_version(folder: Path, name: str) -> None:
    """Put a version of the service below `/opt`: this one's sources, beside the libraries that run the tests."""
    place = folder / "opt" / name
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = place / "lib" / python / "site-packages"
    (place / "bin").mkdir(parents=True)
    # Compiled files come and go while other tests run, and may be somebody else's.
    ignored = shutil.ignore_patterns("*.pth", "__pycache__")
    shutil.copytree(ROOT / "src" / "reelport", site / "reelport", ignore=ignored)
    # As pip does: nobody who runs the service may write here, and each of its processes would compile all anew.
    assert compileall.compile_dir(site, quiet=1, stripdir=folder, prependdir="/")
    (site / "libraries.pth").write_text("/opt/lib\n")
    (place / "pyvenv.cfg").write_text("home = /opt/python/bin\n")
    (place / "bin" / "python").symlink_to(f"/opt/python/bin/{python}")
    program = place / "bin" / "reelport"
    program.write_text(f"#!/opt/{name}/bin/python\nfrom reelport.cli.main import main\nmain()\n")
    program.chmod(0o755)


def _fill(folder: Path) -> None:
    for name in FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    etc = folder / "etc"
    (etc / "group").write_text("root:x:0:\nmessagebus:x:101:\n")
    with (etc / "passwd").open("a") as users:
        users.write("messagebus:x:101:101::/nonexistent:/usr/sbin/nologin\n")
    (etc / "login.defs").write_text("USERGROUPS_ENAB yes\n")
    (etc / "machine-id").touch()
    # Where this interpreter's own library is shared, it is looked for where it isn't here.
    (etc / "ld.so.conf").write_text("/opt/python/lib\n")
    (etc / "systemd" / "system" / "tests.target").write_text(TARGET)
    shutil.copytree(ROOT / "deploy" / "systemd", folder / "deploy" / "systemd")


def _find_libraries() -> Path:
    (found,) = Path(sys.prefix).glob("lib/python*/site-packages")
    return found


def _make_control_group() -> Path:
    """A control group for all of its processes, of the unified hierarchy."""
    lines = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    mounted = next((Path(line[1]) for line in lines if line[2] == "cgroup2"), None)
    if lacking := [name for name in PROGRAMS if shutil.which(name, path="/usr/bin:/usr/sbin:/usr/lib/systemd") is None]:
        pytest.skip(f"this machine can't start a systemd in a root of its own: it lacks {', '.join(lacking)}")
    users = sum(int(line.split()[2]) for line in Path("/proc/self/uid_map").read_text().splitlines())
    if users < USERS:
        pytest.skip(f"this machine can't start a systemd: its services run as other users, and there are {users} here")
    if mounted is None:
        pytest.skip("this machine has no control groups of the unified hierarchy")
    group = mounted / f"reelport-tests-{uuid.uuid4().hex}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"this machine lets nobody make control groups: {error}")
    return group


@contextmanager
def _control_group() -> Iterator[Path]:
    """Such a group for the block: gone after it, once its processes are, and after a kill of the tests as well."""
    group = _make_control_group()
    words = ["/bin/sh", "-c", REMOVE.format(group=group)]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, start_new_session=True) as remover:
        try:
            yield group
        finally:
            assert remover.stdin is not None
            remover.stdin.close()
            remover.wait(PATIENCE)


def _find_first(process: subprocess.Popen[bytes], log: Path) -> int:
    """The systemd that `unshare` has started."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")

    def found() -> list[str]:
        if process.poll() is not None and "permi" in (said := log.read_text()):  # denied, or not permitted
            pytest.skip(f"this machine lets nobody make a root of its own: {said}")
        assert process.poll() is None, log.read_text()
        pids = children.read_text().split()
        return [pid for pid in pids if Path(f"/proc/{pid}/comm").read_text() == "systemd\n"]

    assert until(found), log.read_text()
    return int(found()[0])
