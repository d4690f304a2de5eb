"""Tells what is on this machine: a path from an address elsewhere, a host from others."""

from __future__ import annotations

import os
import re
from ipaddress import ip_address

from reelport.errors import UsageError

# `s3://bucket`, `jdbc:postgresql://host` and `host:/folder`; with one slash what `pathlib` makes of the first. `C:/` is
# a drive: a scheme has two letters at least. A colon that no slash follows may be in any name.
_ADDRESS = re.compile(r"\s*(?P<scheme>[A-Za-z][\w+.@-]+)(?::[\w+.@-]+)*:[/\\]")


def is_address(given: str | os.PathLike[str]) -> bool:
    """Whether a text names another place than this file system, such as `s3://bucket/prefix`."""
    return _ADDRESS.match(os.fspath(given)) is not None


def refuse_address(given: str | os.PathLike[str], advice: str) -> None:
    """Raise UsageError if an address stands where a path belongs; `advice` says what works.

    The error tells no more than how the address begins: the rest may hold a password.
    """
    if found := _ADDRESS.match(os.fspath(given)):
        scheme = found["scheme"].lower()
        if scheme == "file":
            advice = "Write the path itself, without file:// in front."
        raise UsageError(f"{scheme[:40]}:… is an address, and not a path of this machine. {advice}")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine. Looks up no name but `localhost`: an address can change."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".").rpartition(".")[2] == "localhost"
