"""File systems of a test's own, small enough to be full."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_MOUNT = ("/usr/bin/env", "mount")


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of that size in this place. The test is skipped where none may be mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    words = [*_MOUNT, "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(words, check=False, capture_output=True).returncode != 0:
        pytest.skip("a file system can be mounted by root alone")
    try:
        yield folder
    finally:
        subprocess.run(["/usr/bin/env", "umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    """Change a mounted file system: `size=50m` makes room, `ro` takes no more writes, `rw` takes them again."""
    subprocess.run([*_MOUNT, "-o", f"remount,{options}", str(folder)], check=True)
