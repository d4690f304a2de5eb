"""Named steps at which a test can kill this process, to prove that nothing is lost.

`REELPORT_STOP_AT=fsync` kills the process at the step `fsync`. `fsync:FILE` kills it only while FILE exists, and
removes FILE first, so that the next process goes on. In FILE, `{subject}` stands for the step's subject: for the step
`claim`, the fingerprint of its query. Separate several steps by commas. Without the variable a step does nothing.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

VARIABLE = "REELPORT_STOP_AT"

TEST_VARIABLES = frozenset(
    {
        *(VARIABLE, "REELPORT_INSTALL", "REELPORT_KILLS", "REELPORT_KILLS_SEED", "REELPORT_OUTAGE_SECONDS"),
        *("REELPORT_AGGREGATOR", "REELPORT_FLEET", "REELPORT_TEST_TABLES", "REELPORT_TRENDING"),
    }
)
"""Environment variables for tests only: VARIABLE, and those that control the project's own tests."""


def reach(step: str, subject: str = "") -> None:
    """Mark that a step is done: SIGKILL this process when VARIABLE names the step."""
    for requested in os.environ.get(VARIABLE, "").split(","):
        name, _, once = requested.partition(":")
        if name == step and (not once or _try_remove(Path(once.replace("{subject}", subject)))):
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))  # Windows ends it by either


def _try_remove(file: Path) -> bool:
    try:
        file.unlink()
    except FileNotFoundError:
        return False
    return True
