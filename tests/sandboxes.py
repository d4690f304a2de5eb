"""A data directory filled with two months of sample facts: made once for all processes of a run, and copied."""

from __future__ import annotations

import fcntl
import shutil
from datetime import date
from pathlib import Path

import pytest
from tests.migrated import begin_state

from reelport.server.sandbox import fill
from reelport.server.settings import Settings, read_settings

START, END, ROWS = date(2026, 6, 1), date(2026, 7, 31), 3000


def begin_sandbox(settings: Settings, temporary: pytest.TempPathFactory) -> None:
    """Give these settings, whose data directory isn't there yet, sample facts and those who may read them."""
    shutil.copytree(_make_once(temporary), settings.data)


def _make_once(temporary: pytest.TempPathFactory) -> Path:
    """Make the first one, or wait for the process that does."""
    of_process = temporary.getbasetemp()
    # Processes that run tests beside each other have their folders in one.
    of_run = of_process.parent if of_process.name.startswith("popen-") else of_process
    made, done = of_run / "sandbox", of_run / "sandbox.done"
    with (of_run / "sandbox.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            settings = read_settings(data=made, database_url="")
            begin_state(settings)
            assert fill(settings, START, END, ROWS).changed
            done.touch()
    return made
