"""What holds of a process of the service itself: its priority."""

from __future__ import annotations

import os

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


IDLE = """
import os, threading, duckdb
from pathlib import Path
from reelport.server.process import idle_foreign_threads
database = duckdb.connect(config={"threads": 4})
waiting = threading.Event()
threading.Thread(target=waiting.wait, daemon=True).start()
idle_foreign_threads()
own = {each.native_id for each in threading.enumerate()}
threads = {int(each.name) for each in Path("/proc/self/task").iterdir()}
print("ready", flush=True)
for some in (own, threads - own):
    print(len(some), *{os.sched_getscheduler(each) for each in some}, flush=True)
"""


def test_the_threads_of_an_engine_may_run_on_idle_cores_alone() -> None:
    """Not those of Python, which may hold the lock of the state while others wait for it."""
    own, engine = run_child(IDLE).splitlines()
    assert own.split() == ["2", str(os.SCHED_OTHER)]
    assert int(engine.split()[0]) >= 3
    assert engine.split()[1:] == [str(os.SCHED_IDLE)]


def test_each_thread_of_a_process_is_lowered() -> None:
    """Those of an engine that runs already too, and one that starts later: on Linux each has a priority of its own."""
    before, threads, *found = map(int, run_child(LOWERED).split())
    assert threads >= 6
    assert found == [min(before + 3, 19)]
