"""Counts the syncs of the state's log that are made outside of a commit."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable


def count_syncs(do: Callable[[], object]) -> int:
    """How many there are in this call, which makes them in this thread."""
    calls: list[object] = []

    def note(_: object, event: str, called: object) -> None:
        if event == "c_call" and called is os.fdatasync:
            calls.append(called)

    sys.setprofile(note)
    try:
        do()
    finally:
        sys.setprofile(None)
    return len(calls)
