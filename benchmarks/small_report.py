"""What a small report costs on an idle service: milliseconds, processor time, and how often its threads went to sleep.

    .venv/bin/python -m benchmarks.small_report --rows 10000000
    .venv/bin/python -m benchmarks.small_report --rows 10000000 --rest 3 --times 20

Each is asked for, and looked at once by a query that is answered when it has ended. Processor time and switches are
those of all threads of the API and of the worker, as the system counts them; a thread that waits for another one, or
for the disk, has gone to sleep, and to wake it takes longest where the cores rest. With a rest before each ask, page
faults tell what memory was given back meanwhile; what processes do as they rest is in all numbers but the milliseconds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.facts import MEMORY, Facts
from benchmarks.latency import finish_held, questions
from benchmarks.machine import load
from benchmarks.reports import REPORTS
from benchmarks.service import Reelport

_WARM = 10
_MINOR_FAULTS = 7
"""The place of page faults that read no disk in /proc/PID/stat, after the name."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What the threads of a process have used so far."""

    cpu_ms: float = 0.0
    switches: int = 0
    faults: int = 0

    @classmethod
    def of(cls, pid: int) -> Spent:
        """Read it from the system."""
        cpu, switches = 0.0, 0
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
                cpu += int((task / "schedstat").read_text().split()[0]) / 1e6
                status = (task / "status").read_text()
                switches += int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
        faults = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[_MINOR_FAULTS])
        return cls(cpu, switches, faults)

    def since(self, before: Spent, times: int) -> str:
        """What one of so many reports took."""
        cpu = (self.cpu_ms - before.cpu_ms) / times
        return (
            f"{cpu:.2f} | {(self.switches - before.switches) / times:.1f} | {(self.faults - before.faults) / times:.0f}"
        )


def measure(reelport: Reelport, times: int, rest: float) -> Iterator[str]:
    """The rows of a table."""
    small = REPORTS[0]
    fresh = questions(small)
    processes = {"API": reelport.service.pid, "worker": reelport.service.worker_pids[0]}
    with reelport.wire(small.organization) as wire:
        for _ in range(_WARM):
            finish_held(wire, next(fresh))
        before = {name: Spent.of(pid) for name, pid in processes.items()}
        taken = []
        for _ in range(times):
            time.sleep(rest)
            began = time.perf_counter()
            finish_held(wire, next(fresh))
            taken.append((time.perf_counter() - began) * 1000)
        after = {name: Spent.of(pid) for name, pid in processes.items()}
    taken.sort()
    yield "| of a small report | ms, least / median / p95 | CPU ms | switches | page faults |\n|---|---|---|---|---|"
    yield f"| ask to FINISHED | {taken[0]:.1f} / {median(taken):.1f} / {taken[int(times * 0.95)]:.1f} | | | |"
    for name in processes:
        yield f"| {name} | | {after[name].since(before[name], times)} |"


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of plays")
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--rest", type=float, default=0.0, help="seconds before each ask")
    given = parser.parse_args()
    facts = Facts(given.rows)
    facts.ready()
    reelport = Reelport(facts, MEMORY)
    try:
        for line in measure(reelport, given.times, given.rest):
            print(line)
        print(f"load averages {load()}")
    finally:
        reelport.close()


if __name__ == "__main__":
    main()
