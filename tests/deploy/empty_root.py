"""An empty root in which the steps of a Containerfile run where there is no container engine: `unshare` and `chroot`.

It holds this machine's `/usr`, an empty `/etc` and `/tmp`, a loopback of its own, and what a test puts or binds there.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

TEMPORARY = "/tmp"  # noqa: S108 - of a root of its own
LINKED = ("bin", "sbin", "lib", "lib64")
LOOPBACK = (
    "import fcntl, socket, struct\n"
    "with socket.socket() as s: fcntl.ioctl(s, 0x8914, struct.pack('16sh', b'lo', 1))"  # SIOCSIFFLAGS, IFF_UP
)


@dataclass
class Stage:
    """A stage of a Containerfile: its instructions in their order, and what the image then is."""

    steps: list[tuple[str, str]] = field(default_factory=list)

    def last(self, name: str) -> str:
        """The argument of an instruction that counts once."""
        return [text for each, text in self.steps if each == name][-1]

    @property
    def copied(self) -> list[tuple[str, str]]:
        """What is copied out of the tree, and where to."""
        lines = [text.split() for name, text in self.steps if name == "COPY" and not text.startswith("--from")]
        return [(source, words[-1]) for words in lines for source in words[:-1]]

    @property
    def arguments(self) -> dict[str, str]:
        """What ARG names, with what it is where nobody gives another."""
        found = (text.partition("=") for name, text in self.steps if name == "ARG")
        return {name: default for name, _, default in found}

    @property
    def environment(self) -> dict[str, str]:
        """What ENV sets."""
        words = [word for name, text in self.steps if name == "ENV" for word in shlex.split(text)]
        return dict(word.split("=", 1) for word in words)

    @property
    def command(self) -> list[str]:
        """What runs in the container."""
        return [*json.loads(self.last("ENTRYPOINT")), *json.loads(self.last("CMD"))]

    @property
    def health_check(self) -> list[str]:
        """The command that tells whether it is well."""
        found: list[str] = json.loads(self.last("HEALTHCHECK").partition("CMD ")[2])
        return found


def parse_containerfile(file: Path) -> list[Stage]:
    """Parse the stages of a Containerfile."""
    text = re.sub(r"^#.*\n", "", file.read_text("utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    stages: list[Stage] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, rest = line.partition(" ")
        if name == "FROM":
            stages.append(Stage())
        elif stages:
            stages[-1].steps.append((name, rest.strip()))
    return stages


@dataclass(frozen=True)
class EmptyRoot:
    """A folder that becomes the root of commands."""

    folder: Path
    bound: tuple[Path, ...] = ()
    """What is seen at its own place, and can't be written."""
    shared: Mapping[Path, Path] = field(default_factory=dict)
    """What is seen at another place, and can be."""

    def run(
        self,
        script: str,
        environment: Mapping[str, str],
        *,
        user: str = "0:0",
        kept: Path | None = None,
        private_network: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell script in it. With `kept`, a path in it, only that one and `/tmp` can be written."""
        words = ["unshare", "--mount", "--pid", "--fork", "--kill-child", *(["--net"] if private_network else [])]
        inner = ["/usr/sbin/chroot", f"--userspec={user}", str(self.folder), "/usr/bin/env", "-i"]
        inner += [f"{name}={value}" for name, value in environment.items()]
        outer = "\n".join([*self._mounts(kept), f"exec {shlex.join([*inner, '/bin/sh', '-eu', '-c', script])}"])
        if private_network:
            outer = f"{shlex.join([sys.executable, '-c', LOOPBACK])}\n{outer}"
        command = [*words, "/bin/sh", "-eu", "-c", outer]
        return subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)

    def _mounts(self, kept: Path | None) -> list[str]:
        root = self.folder
        lines = ["mount --make-rprivate /", f"mount --bind {root} {root}"]
        lines += [f"mount -t proc proc {root}/proc", f"mount -t tmpfs -o mode=1777 tmpfs {root}{TEMPORARY}"]
        for path in (Path("/usr"), *self.bound):  # over the temporary folder: these may lie in it
            lines += [f"mkdir -p {root}{path}"]
            lines += [f"mount --bind {path} {root}{path}", f"mount -o remount,bind,ro {root}{path}"]
        for path, place in self.shared.items():
            lines += [f"mkdir -p {root}{place}", f"mount --bind {path} {root}{place}"]
        lines += [f"mount --bind /dev/{name} {root}/dev/{name}" for name in ("null", "urandom")]
        if kept is not None:
            lines += [f"mount --bind {root}{kept} {root}{kept}", f"mount -o remount,bind,ro {root}"]
        return lines


def make_empty_root(folder: Path, *bound: Path) -> EmptyRoot:
    """Make an empty root; skips where only a container engine, or root, could."""
    if os.geteuid() != 0:
        pytest.skip("a root of its own is made by root alone")
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    if subprocess.run(
        ["/usr/bin/env", "unshare", "--mount", "--pid", "--net", "--fork", "true"], check=False
    ).returncode:
        pytest.skip("this machine lets nobody unshare")
    for name in ("usr", "proc", "tmp", "dev", "etc", "opt", "var/lib", *(str(path)[1:] for path in bound)):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name in ("null", "urandom"):
        (folder / "dev" / name).touch()
    for name in LINKED:
        if (link := Path("/") / name).is_symlink():
            (folder / name).symlink_to(link.readlink())
    (folder / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    folder.chmod(0o755)
    return EmptyRoot(folder, bound)
