"""Asks an object store again whose answer was cut.

The libraries send a request again until an answer begins; a small one that breaks in its middle they give up.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from reelport.storage.retries import FIRST_PAUSE, LONGEST_PAUSE

T = TypeVar("T")

_CUT = ("response body error", "error reading a body")
"""What the client that both libraries are built on says of such an answer."""


def ask_again(ask: Callable[[], T], seconds: float) -> T:
    """Call until the answer comes whole, for so many seconds at most.

    Any other error is raised at once.
    """
    until, pause = time.monotonic() + seconds, FIRST_PAUSE
    while True:
        try:
            return ask()
        except Exception as error:
            if not _is_cut(str(error)) or time.monotonic() + pause > until:
                raise
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def _is_cut(message: str) -> bool:
    return any(part in message for part in _CUT)
