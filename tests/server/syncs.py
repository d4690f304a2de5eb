"""Counts the syncs of the state's log that are made outside of a commit, and lets them fail."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from reelport.server.settings import Settings


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


@contextmanager
def no_sync(settings: Settings) -> Iterator[None]:
    """Let the path of the state's log lead nowhere: syncs of the log fail, while open connections go on."""
    log = settings.state_file.with_name("state.db-wal")
    away = log.rename(log.with_name("away"))
    log.symlink_to(log)
    try:
        yield
    finally:
        log.unlink()
        away.rename(log)
