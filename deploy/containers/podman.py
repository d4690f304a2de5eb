"""Podman's commands: one is run, images are looked for, fetched and built."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from deploy.fleet.part import FleetError

_PACKAGES = {
    "podman": "podman",
    "podman-compose": "podman-compose",
    "catatonit": "catatonit",
    "nft": "nftables",
    "openssl": "openssl",
}
_AARDVARK = Path("/usr/lib/podman/aardvark-dns")
"""Gives containers of one network each other's addresses by name."""
_PULL_SECONDS = 300.0
_SECONDS = 1200.0
_SYSTEM = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"


def find_missing() -> list[str]:
    """List Debian's packages that containers need and this machine lacks."""
    missing = [package for name, package in _PACKAGES.items() if shutil.which(name, path=_SYSTEM) is None]
    return sorted([*missing, *([] if _AARDVARK.exists() else ["aardvark-dns"])])


def podman(*words: str, folder: Path | None = None, seconds: float = _SECONDS) -> str:
    """Run podman; what it printed. FleetError, with its own last words, when it fails or takes too long."""
    command = ["podman", *words]
    # It warns of an old kind of control groups at each call.
    environment = {**os.environ, "PODMAN_IGNORE_CGROUPSV1_WARNING": "1"}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise FleetError(f"{_shorten(command)} took longer than {seconds:.0f} seconds") from error
    if done.returncode:
        said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-12:])
        raise FleetError(f"{_shorten(command)} ended with status {done.returncode}:\n{said}")
    return done.stdout.strip()


def has_image(name: str) -> bool:
    """Whether the image is on this machine, or its registry gives it."""
    for words in (("image", "exists", name), ("pull", "--quiet", name)):
        try:
            podman(*words, seconds=_PULL_SECONDS)
        except FleetError:
            continue
        return True
    return False


def build_image(name: str, file: Path, folder: Path, arguments: Sequence[str] = ()) -> None:
    """Build an image of a Containerfile; in Docker's form, since the other one has no checks of health."""
    given = [word for argument in arguments for word in ("--build-arg", argument)]
    podman("build", "--pull=never", "--format=docker", "--file", str(file), "--tag", name, *given, str(folder))


def _shorten(command: Sequence[str]) -> str:
    return " ".join(command[:6])
