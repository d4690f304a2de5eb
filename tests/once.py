"""What is made once for all processes of a run, which only read or copy it: to make it takes seconds."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from pathlib import Path

import pytest


def make_once(temporary: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The path of this name that `make` has made in this process or another one, or makes now."""
    of_process = temporary.getbasetemp()
    # Processes that run tests beside each other have their folders in one.
    of_run = of_process.parent if of_process.name.startswith("popen-") else of_process
    made, done = of_run / f"once-{name}", of_run / f"once-{name}.done"
    with (of_run / f"once-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            make(made)
            done.touch()
    return made
