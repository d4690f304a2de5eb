"""Take from a starting interpreter what Windows hasn't: put this folder on PYTHONPATH.

Modules and names of POSIX are gone, links can't be made, folders can't be opened or synced, and a file that this
process has open can't be renamed, replaced or removed. What is left untouched is how paths are written and what the
interpreter was built for: `os.name` and `sys.platform` say what they said.
"""

from __future__ import annotations

import asyncio  # noqa: F401 - see below
import errno
import fcntl as FCNTL  # noqa: N812 - it is gone for all others
import os
import shutil
import signal
import stat
import subprocess  # the standard library's own modules were made for this system: they are loaded whole
import sys
import tempfile  # noqa: F401 - the same
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from typing import Any

import numpy as np  # noqa: F401 - it asks Linux for its version when it is loaded, as it was made for it

MODULES = {"fcntl", "grp", "pwd", "resource", "syslog", "termios", "tty", "pty", "crypt", "spwd", "nis", "readline"}
OS_NAMES = (
    *(
        "chown",
        "confstr",
        "ctermid",
        "fchdir",
        "fchmod",
        "fchown",
        "fdatasync",
        "fork",
        "forkpty",
        "getegid",
        "geteuid",
    ),
    *(
        "getgid",
        "getgroups",
        "getloadavg",
        "getpgid",
        "getpgrp",
        "getpriority",
        "getsid",
        "getuid",
        "initgroups",
        "killpg",
    ),
    *("lchown", "lockf", "mkfifo", "mknod", "nice", "openpty", "pathconf", "posix_fadvise", "posix_fallocate"),
    *("posix_spawn", "pread", "preadv", "pwrite", "pwritev", "readv", "register_at_fork", "sched_getaffinity"),
    *("sched_yield", "sendfile", "setegid", "seteuid", "setgid", "setgroups", "setpgid", "setpriority", "setsid"),
    *("setuid", "statvfs", "fstatvfs", "sync", "sysconf", "tcgetpgrp", "ttyname", "uname", "wait", "wait3", "wait4"),
    *("writev", "O_CLOEXEC", "O_DIRECTORY", "O_DSYNC", "O_NOCTTY", "O_NOFOLLOW", "O_NONBLOCK", "O_PATH", "O_SYNC"),
    *("WNOHANG", "memfd_create", "pidfd_open", "copy_file_range", "splice", "getxattr", "setxattr", "listxattr"),
)
SIGNAL_NAMES = (
    *("SIGALRM", "SIGCHLD", "SIGCONT", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGSTOP", "SIGTSTP", "SIGTTIN"),
    *("SIGTTOU", "SIGUSR1", "SIGUSR2", "SIGWINCH", "alarm", "getitimer", "pause", "pthread_kill", "pthread_sigmask"),
    *("setitimer", "siginterrupt", "sigpending", "sigtimedwait", "sigwait", "sigwaitinfo"),
)
ITS_OWN = "portalocker"
"""On Windows it has another way; here the real lock has to stand in for that one."""


class NoPosix(MetaPathFinder):
    """Finds no module of POSIX, but for the library that has its own code for Windows."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Refuse what isn't there."""
        del path, target
        if name in MODULES and not _is_imported_by_its_own():
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def _is_imported_by_its_own() -> bool:
    frame = sys._getframe()
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).startswith(ITS_OWN):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def _denied(*_: Any, **__: Any) -> None:
    raise OSError(errno.EPERM, "A required privilege is not held by the client")


def _is_open(path: Any) -> bool:
    """Whether this process has the file open."""
    try:
        found = os.stat(path)
    except (OSError, TypeError):
        return False
    if stat.S_ISDIR(found.st_mode):
        return False
    return any(_is_same(found, int(number)) for number in os.listdir("/proc/self/fd"))


def _is_same(found: os.stat_result, descriptor: int) -> bool:
    try:
        return os.path.samestat(found, os.fstat(descriptor))
    except OSError:
        return False


def _unless_open(call: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(*paths: Any, **more: Any) -> Any:
        for path in paths:
            if _is_open(path):
                raise PermissionError(errno.EACCES, "The file is used by another process", str(path))
        return call(*paths, **more)

    return guarded


def _no_folders(open_file: Callable[..., int]) -> Callable[..., int]:
    def guarded(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if named.pop("dir_fd", None) is not None:
            raise NotImplementedError("dir_fd unavailable on this platform")
        if not isinstance(path, int) and os.path.isdir(path):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return open_file(path, flags, *more, **named)

    return guarded


def _only_written(sync: Callable[[int], None]) -> Callable[[Any], None]:
    def guarded(file: Any) -> None:
        number = file if isinstance(file, int) else file.fileno()
        if FCNTL.fcntl(number, FCNTL.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        sync(number)

    return guarded


def _renaming(call: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(source: Any, target: Any, **more: Any) -> Any:
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, "Cannot create a file when that file already exists", str(target))
        return call(source, target, **more)

    return guarded


for module in MODULES:
    sys.modules.pop(module, None)
sys.meta_path.insert(0, NoPosix())
for owner, gone in ((os, OS_NAMES), (signal, SIGNAL_NAMES)):
    for each in gone:
        if hasattr(owner, each):
            delattr(owner, each)
setattr(os, "process_cpu_count", os.cpu_count)  # as `os` has it where there is no affinity
for names in (os.supports_dir_fd, os.supports_fd, os.supports_effective_ids):
    names.clear()
INSTEAD: dict[str, Callable[..., Any]] = {
    "symlink": _denied,
    "fsync": _only_written(os.fsync),
    "open": _no_folders(os.open),
    "rename": _renaming(_unless_open(os.rename)),
    "replace": _unless_open(os.replace),
    "unlink": _unless_open(os.unlink),
    "remove": _unless_open(os.remove),
}
for each, call in INSTEAD.items():
    setattr(os, each, call)
setattr(shutil, "_use_fd_functions", False)  # it was loaded before
setattr(subprocess, "_USE_POSIX_SPAWN", False)  # the same
