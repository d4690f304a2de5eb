"""Sits out a restart or failover of PostgreSQL, or a lock on SQLite's state."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from reelport.server.state.database import StateBusy, StateUnavailable
from reelport.server.state.write_ahead import StateLocked

T = TypeVar("T")

_PAUSE_SECONDS = 0.5


def sit_out(work: Callable[[], T], stopping: threading.Event) -> T:
    """Return the result of `work`, done again while the state is unavailable or locked.

    Raises what it was refused by once `stopping` is set. An outage may hide that a commit went through: what is done
    twice must be as if it was done once.
    """
    while True:
        try:
            return work()
        except (StateUnavailable, StateBusy, StateLocked):
            if stopping.wait(_PAUSE_SECONDS):
                raise
