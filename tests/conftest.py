"""What all tests share: the examples of Hypothesis, a Ctrl-C that arrives, a home for ledgers that is nobody's."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# Machines that run the tests are slow and noisy: no deadline for one example, and the same examples everywhere.
# `pytest --hypothesis-profile explore` tries others, and more of them.
settings.register_profile(
    "reelport", deadline=None, max_examples=60, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "explore", deadline=None, max_examples=400, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("reelport")

# A shell starts what runs in its background deaf to Ctrl-C, and every process that a test starts would inherit that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test, nor a process that one starts, touches the ledger or the settings of whoever runs the tests."""
    before = os.environ.get("REELPORT_HOME")
    os.environ["REELPORT_HOME"] = str(tmp_path_factory.mktemp("home"))
    yield
    if before is None:
        del os.environ["REELPORT_HOME"]
    else:
        os.environ["REELPORT_HOME"] = before
