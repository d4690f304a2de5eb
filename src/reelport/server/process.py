"""How a process of the service ends: by a signal, or together with its parent."""

from __future__ import annotations

import os
import sys
import threading
from typing import NoReturn


def exit_process(*_: object) -> NoReturn:
    """Exit through every open `with` block; a signal handler.

    The web server takes the signal first, ends its requests, and raises the signal again.
    """
    raise SystemExit(0)


def exit_with_parent() -> None:
    """Exit once the parent process has ended, which closes standard input."""
    threading.Thread(target=_wait_for_parent, name="parent", daemon=True).start()


def _wait_for_parent() -> None:
    # Not `sys.stdin.read`: a thread that waits in it holds the buffer's lock, which breaks the interpreter's exit.
    while os.read(sys.stdin.fileno(), 1024):
        pass
    # Exit at once, as if killed: nobody supervises this process any more, and a new service may be starting already.
    os._exit(1)
