"""How long a request that an object store fails or doesn't answer is sent again.

Time bounds it, not a number: pauses are random, and a number of them may be over in a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

PATIENT_SECONDS = 45.0
"""For work that nobody waits for at that moment, or that would have to be begun anew."""
BRIEF_SECONDS = 5.0
"""For what a caller waits for, or holds up others."""
MOST_RETRIES = 10_000
"""A number that is never reached: the libraries want one."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Bounds of the pauses between, in seconds."""
_seconds: ContextVar[float] = ContextVar("retry_seconds")


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
