"""What holds of a process of the service itself: its priority."""

from __future__ import annotations

from tests.patience import run_child

LOWERED = """
import os, threading, duckdb
from pathlib import Path
from reelport.server.process import lower_priority
database = duckdb.connect(config={"threads": 4})
waiting = threading.Event()
threading.Thread(target=waiting.wait, daemon=True).start()
before = os.getpriority(os.PRIO_PROCESS, 0)
lower_priority(3)
threading.Thread(target=waiting.wait, daemon=True).start()
threads = [int(each.name) for each in Path("/proc/self/task").iterdir()]
print("ready", flush=True)
print(before, len(threads), *{os.getpriority(os.PRIO_PROCESS, each) for each in threads}, flush=True)
"""


def test_each_thread_of_a_process_is_lowered() -> None:
    """Those of an engine that runs already too, and one that starts later: on Linux each has a priority of its own."""
    before, threads, *found = map(int, run_child(LOWERED).split())
    assert threads >= 6
    assert found == [min(before + 3, 19)]
