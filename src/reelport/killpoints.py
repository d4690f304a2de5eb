"""Named steps at which a rehearsal may kill this process, to prove that nothing is lost.

`REELPORT_STOP_AT=fsync` kills it at the step `fsync`; with `fsync:FILE` only while FILE exists, which is
removed first, so that the next process goes on. In FILE, `{subject}` stands for what the step is about: for the
step `claim`, the fingerprint of its query. Several are set apart by commas. Without it a step does nothing.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

VARIABLE = "REELPORT_STOP_AT"

REHEARSALS = frozenset({VARIABLE, "REELPORT_KILLS", "REELPORT_KILLS_SEED", "REELPORT_TRENDING"})
"""Variables of rehearsals: this one, and those that the project's own tests are steered by."""


def reach(step: str, subject: str = "") -> None:
    """Say that the step has just been done; kill this process, by SIGKILL, when that was rehearsed."""
    for rehearsed in os.environ.get(VARIABLE, "").split(","):
        name, _, once = rehearsed.partition(":")
        if name == step and (not once or _try_remove(Path(once.replace("{subject}", subject)))):
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))  # Windows ends it by either


def _try_remove(file: Path) -> bool:
    try:
        file.unlink()
    except FileNotFoundError:
        return False
    return True
