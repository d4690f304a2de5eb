"""What a drill needs of the machine: programs, root, free ports, and no other drill beside it."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.fleet.part import FleetError

PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
"""Where the programs are: a shell of `su` has no `sbin`."""
LOCK = Path("/run/reelport-drill.lock")
_PACKAGES = {
    "podman": "podman",
    "podman-compose": "podman-compose",
    "catatonit": "catatonit",
    "nft": "nftables",
    "openssl": "openssl",
}
_AARDVARK = Path("/usr/lib/podman/aardvark-dns")
"""Gives containers of one network each other's addresses by name."""


class MachineUnfit(FleetError):
    """This machine lacks what containers need, or somebody else has it."""


def find_missing() -> list[str]:
    """List Debian's packages that containers need and this machine lacks."""
    missing = [package for name, package in _PACKAGES.items() if shutil.which(name, path=PATH) is None]
    return sorted([*missing, *([] if _AARDVARK.exists() else ["aardvark-dns"])])


def require_root() -> None:
    """Refuse another user: ports below 1024, and files that belong to the containers' users."""
    if os.geteuid() != 0:
        raise MachineUnfit("Only root runs the fleet's containers: sudo make containers")


def require_ports(ports: Iterable[int]) -> None:
    """Refuse ports on which somebody listens."""
    for port in ports:
        try:
            socket.create_server(("", port)).close()
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise MachineUnfit(f"Port {port} can't be had ({reason}): see who listens, ss -ltnp") from error


@contextmanager
def hold_lock(path: Path) -> Iterator[int]:
    """Keep another drill away for as long as the block runs: both would have the same containers.

    A program that is given the file's number, which this yields, keeps it away until it ends too.
    """
    with path.open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise MachineUnfit("Another drill runs on this machine: wait until it ends") from error
        yield lock.fileno()
