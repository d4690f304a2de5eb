"""How many open files a process may have, and that they are enough."""

from __future__ import annotations

import resource

from reelport.errors import UsageError

_MIN_FILES = 256
"""Open files without which there would be too few connections to serve anybody."""
_MAX_FILES = 65_536
"""More are of no use: every file costs each new process of some systems a look."""


def raise_open_files() -> int:
    """Let this process have as many open files as it may, and say how many; UsageError when they are too few."""
    soft, hard = _read_limits()
    files = max(soft, hard)
    if files > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    if (fault := find_file_fault()) is not None:
        raise UsageError(fault)
    return files


def find_file_fault() -> str | None:
    """A sentence where a process that is started as this one may have too few open files to serve; else None."""
    files = max(_read_limits())
    if files >= _MIN_FILES:
        return None
    return (
        f"This process may have {files} open files, and serving needs {_MIN_FILES}: raise the limit "
        f"(ulimit -n 4096, or LimitNOFILE= of its systemd unit)."
    )


def _read_limits() -> tuple[int, int]:
    """How many files this process may have open as it is, and how many it may allow itself; no more than are of use."""
    soft, hard = (
        _MAX_FILES if limit == resource.RLIM_INFINITY else limit for limit in resource.getrlimit(resource.RLIMIT_NOFILE)
    )
    return soft, min(hard, _MAX_FILES)
