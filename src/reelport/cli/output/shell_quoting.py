"""Quote commands so that a person can paste them into the shell of this system."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable


def quote_command(words: Iterable[str], platform: str = sys.platform) -> str:
    """Quote words as one line for a POSIX shell, or for Windows' own."""
    if platform != "win32":
        return shlex.join(words)
    from subprocess import list2cmdline

    return list2cmdline(words)
