"""File systems of a test's own, small enough to be full, and commands that permissions bind."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
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


@contextmanager
def limit_file_size(most: int) -> Iterator[None]:
    """No file of this process grows beyond so many bytes: what a full disk is to a writer."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def read_only_view(folder: Path, of: Path) -> Iterator[None]:
    """Another folder as this one, where it can't be written. Call it where `small_disk` could mount."""
    folder.mkdir(parents=True)
    subprocess.run([*_MOUNT, "--bind", str(of), str(folder)], check=True)
    try:
        subprocess.run([*_MOUNT, "-o", "remount,ro,bind", str(folder)], check=True)
        yield
    finally:
        subprocess.run(["/usr/bin/env", "umount", "--lazy", str(folder)], check=True)


@contextmanager
def failing_disk(place: Path) -> Iterator[tuple[Path, Path]]:
    """A disk that fails to write new blocks while there is no room in another folder, which is given too.

    A loop device over a sparse file of a small file system. The test is skipped where there is none.
    """
    with small_disk(place / "room", "24m") as room:
        (image, folder) = room / "image", place / "disk"
        with image.open("wb") as file:
            file.truncate(32_000_000)
        folder.mkdir()
        make = [
            "/usr/bin/env",
            "mkfs.ext4",
            "-q",
            "-O",
            "^has_journal",
            "-E",
            "nodiscard,lazy_itable_init=1",
            str(image),
        ]
        for words in (make, [*_MOUNT, "-o", "loop", str(image), str(folder)]):
            if subprocess.run(words, check=False, capture_output=True).returncode != 0:
                pytest.skip("there are no loop devices, or no mkfs.ext4")
        try:
            yield folder, room
        finally:
            subprocess.run(["/usr/bin/env", "umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """A file that takes all room of a small file system."""
    filler = folder / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(65536))
    return filler


def without_override(words: Sequence[str]) -> list[str]:
    """The command, so run that permissions bind it even where the tests run as root. Skips where that can't be."""
    if os.geteuid() != 0:
        return list(words)
    if (found := shutil.which("setpriv")) is None:
        pytest.skip("root is bound by permissions only without its capabilities: setpriv is not there")
    caps = "-dac_override,-dac_read_search"
    return [found, f"--inh-caps={caps}", f"--bounding-set={caps}", *words]


def remount(folder: Path, options: str) -> None:
    """Change a mounted file system: `size=50m` makes room, `ro` takes no more writes, `rw` takes them again."""
    subprocess.run([*_MOUNT, "-o", f"remount,{options}", str(folder)], check=True)
