"""Raises the limit of open files of this process, and checks that it is high enough."""

from __future__ import annotations

import resource

from reelport.errors import UsageError

_MIN_FILES = 256
"""Fewest open files with which the service starts: fewer would leave too few connections."""
_MAX_FILES = 65_536
"""Most open files to ask for: more are of no use, and on some systems a new process visits every possible one."""


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
    """Return the soft and the hard limit of open files, each at most `_MAX_FILES`."""
    soft, hard = (
        _MAX_FILES if limit == resource.RLIM_INFINITY else limit for limit in resource.getrlimit(resource.RLIMIT_NOFILE)
    )
    return soft, min(hard, _MAX_FILES)
