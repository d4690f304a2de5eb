"""Commands as a person can paste them into the shell of this system."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable


def quote_command(words: Iterable[str], platform: str = sys.platform) -> str:
    """Return the words as one line of a POSIX shell, or of Windows' own."""
    if platform != "win32":
        return shlex.join(words)
    from subprocess import list2cmdline

    return list2cmdline(words)
