"""Named steps at which a test may stop the process dead, to prove that nothing is lost there."""

from __future__ import annotations

import os
import signal

VARIABLE = "REELPORT_STOP_AT"


def reach(step: str) -> None:
    """Kill this very process when the environment names this step; otherwise do nothing.

    The kill is SIGKILL: no handler, no cleanup, as when the power goes.
    """
    if os.environ.get(VARIABLE) == step:
        os.kill(os.getpid(), signal.SIGKILL)
