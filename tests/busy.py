"""Run a command where the machine is busy or slow: `busy.py COMMAND ...`, or `busy.py --half COMMAND ...`.

As it is, every core has a neighbour that computes without end while the command runs. With `--half` the command
and all that it starts get half a core together: by systemd, by a control group, or, where neither can be had,
by one core that they share with such a neighbour.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

PERIOD, QUOTA = 100_000, 50_000
"""Microseconds, and how many of them a held command may compute."""

GROUPS = Path("/sys/fs/cgroup")


@contextmanager
def neighbours(cores: Sequence[int]) -> Iterator[None]:
    """Keep each of these cores busy within the block."""
    spin = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])})\nwhile os.getppid() == int(sys.argv[2]): pass"
    with ExitStack() as stack:
        for core in cores:
            process = subprocess.Popen([sys.executable, "-c", spin, str(core), str(os.getpid())])
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield


def scope() -> list[str] | None:
    """The words before a command that have systemd hold it to half a core; None where it can't."""
    whose = [] if os.geteuid() == 0 else ["--user"]
    words = ["systemd-run", *whose, "--scope", "--quiet", f"--property=CPUQuota={100 * QUOTA // PERIOD}%"]
    with suppress(FileNotFoundError):
        if subprocess.run([*words, "true"], check=False, capture_output=True).returncode == 0:
            return words
    return None


@contextmanager
def control_group() -> Iterator[Path | None]:
    """A control group of half a core for the block; None where none can be made."""
    group = _group(GROUPS, "cpu.max", f"{QUOTA} {PERIOD}") or _group(GROUPS / "cpu", "cpu.cfs_quota_us", f"{QUOTA}")
    try:
        yield group
    finally:
        # What outlives the command keeps its group.
        with suppress(OSError):
            if group is not None:
                group.rmdir()


def _group(root: Path, name: str, limit: str) -> Path | None:
    group = root / f"reelport-{os.getpid()}"
    with suppress(OSError):
        group.mkdir()
        # The system puts this file there; a folder without it is no control group.
        if (group / name).exists():
            (group / name).write_text(limit)
            return group
        group.rmdir()
    return None


def run_held(command: Sequence[str]) -> int:
    """Run a command within half a core, and say how it is held; its status."""
    if words := scope():
        _tell("held to half a core by systemd")
        return subprocess.run([*words, *command], check=False).returncode
    with control_group() as group:
        if group is not None:
            _tell(f"held to half a core by {group}")
            enter = 'echo $$ > "$0" && exec "$@"'
            held = ["/bin/sh", "-c", enter, str(group / "cgroup.procs"), *command]
            return subprocess.run(held, check=False).returncode
    core = min(os.sched_getaffinity(0))
    _tell(f"held to core {core} beside a neighbour that computes without end")
    with neighbours([core]):
        os.sched_setaffinity(0, {core})
        return subprocess.run(command, check=False).returncode


def _tell(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")
    sys.stderr.flush()


def main() -> int:
    """Run the command line, and end as its command does."""
    if sys.argv[1:2] == ["--half"]:
        return run_held(sys.argv[2:])
    cores = sorted(os.sched_getaffinity(0))
    _tell(f"{len(cores)} cores are kept busy")
    with neighbours(cores):
        return subprocess.run(sys.argv[1:], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
