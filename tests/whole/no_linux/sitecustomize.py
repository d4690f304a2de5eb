"""Take from a starting interpreter what macOS hasn't, which is but what every POSIX system has: put it on PYTHONPATH.

There is no /proc and no /sys, and none of the names of `os` and `signal` that only Linux gives. Locks, links and
synced folders stay. `sys.platform` says what it said.
"""

from __future__ import annotations

import asyncio  # noqa: F401 - the standard library's own modules were made for this system: they are loaded whole
import builtins
import errno
import io
import os
import signal
import subprocess  # noqa: F401 - the same
from collections.abc import Callable
from typing import Any

OS_NAMES = (
    *("CLD_CONTINUED", "O_DIRECT", "O_LARGEFILE", "O_NOATIME", "O_PATH", "O_RSYNC", "O_TMPFILE", "copy_file_range"),
    *("eventfd", "fdatasync", "getresgid", "getresuid", "getxattr", "listxattr", "memfd_create", "pidfd_open", "pipe2"),
    *("posix_fadvise", "posix_fallocate", "sched_getaffinity", "sched_setaffinity", "sched_setscheduler", "setns"),
    *("setresgid", "setresuid", "setxattr", "splice", "unshare"),
)
SIGNAL_NAMES = ("SIGPOLL", "SIGPWR", "SIGRTMAX", "SIGRTMIN", "SIGSTKFLT", "sigtimedwait", "sigwaitinfo")
LINUX = ("/proc", "/sys")


def _nowhere(call: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(path: Any, *more: Any, **named: Any) -> Any:
        if isinstance(path, str | os.PathLike) and os.fspath(path).startswith(LINUX):
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))
        return call(path, *more, **named)

    return guarded


for owner, gone in ((os, OS_NAMES), (signal, SIGNAL_NAMES)):
    for each in gone:
        if hasattr(owner, each):
            delattr(owner, each)
setattr(os, "process_cpu_count", os.cpu_count)  # as `os` has it where there is no affinity
for owner, calls in ((os, ("open", "stat", "lstat", "scandir", "listdir", "readlink")), (io, ("open",))):
    for each in calls:
        setattr(owner, each, _nowhere(getattr(owner, each)))
setattr(builtins, "open", io.open)
