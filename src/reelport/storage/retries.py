"""How long a request that an object store fails or doesn't answer is sent again.

Time bounds it, not a number: pauses are random, and a number of them may be over in a second. The libraries send a
request again until an answer begins; a small one that breaks in its middle they give up, and it is asked again here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

PATIENT_SECONDS = 45.0
"""For work that nobody waits for at that moment, or that would have to be begun anew."""
BRIEF_SECONDS = 5.0
"""For what a caller waits for, or holds up others."""
MOST_RETRIES = 10_000
"""A number that is never reached: the libraries want one."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Bounds of the pauses between, in seconds."""
_seconds: ContextVar[float] = ContextVar("retry_seconds")
T = TypeVar("T")

_CUT = ("response body error", "error reading a body")
"""What the client that both libraries are built on says of such an answer."""


@contextmanager
def retry_for(seconds: float) -> Iterator[None]:
    """Let stores that are opened within the block send requests again for so long."""
    token = _seconds.set(seconds)
    try:
        yield
    finally:
        _seconds.reset(token)


def get_retry_seconds() -> float:
    """Return how long a store that is opened now sends requests again."""
    return _seconds.get(PATIENT_SECONDS)


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
