"""What a start and `reelport doctor` warn of: the origin of links, open files."""

from __future__ import annotations

import resource
from urllib.parse import urlsplit

from reelport.errors import UsageError
from reelport.local_path import is_loopback
from reelport.server.settings import Settings

_MIN_FILES = 256
"""Fewest open files with which the service starts: fewer would leave too few connections."""
_MAX_FILES = 65_536
"""Most open files to ask for: more are of no use, and on some systems a new process visits every possible one."""


def find_link_fault(settings: Settings) -> str | None:
    """Say why download links can't work; None when the settings show no fault."""
    if not settings.public_url:
        return None
    try:
        parts = urlsplit(settings.public_url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if port == 0 or not host or parts.scheme not in {"http", "https"}:
        return (
            f"Links begin with {settings.public_url} (REELPORT_PUBLIC_URL), which is no address of the web: "
            "set one such as https://reports.example.com."
        )
    if is_loopback(host) and not is_loopback(settings.host):
        return (
            f"Links begin with {settings.public_url} (REELPORT_PUBLIC_URL), which leads callers to their own machine, "
            f"while others may call {settings.host}: set the address that partners use, or none."
        )
    return None


def raise_open_files() -> int:
    """Raise the soft limit of open files to the hard one; UsageError when it is too low."""
    soft, hard = _read_limits()
    files = max(soft, hard)
    if files > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    if (fault := find_file_fault()) is not None:
        raise UsageError(fault)
    return files


def find_file_fault() -> str | None:
    """Say when processes started like this may have too few open files; else None."""
    files = max(_read_limits())
    if files >= _MIN_FILES:
        return None
    return (
        f"This process may have {files} open files, and serving needs {_MIN_FILES}: raise the limit "
        f"(ulimit -n 4096, or LimitNOFILE= of its systemd unit)."
    )


def _read_limits() -> tuple[int, int]:
    soft, hard = (
        _MAX_FILES if limit == resource.RLIM_INFINITY else limit for limit in resource.getrlimit(resource.RLIMIT_NOFILE)
    )
    return soft, min(hard, _MAX_FILES)
