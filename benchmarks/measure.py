"""One measured call in a process of its own choosing: seconds, CPU seconds, and the most memory it held."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import ParamSpec

P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Took:
    """What a call took: seconds of the wall and of the CPU (0 where another process worked), bytes at the peak."""

    seconds: float
    cpu: float
    peak: int


def measured(call: Callable[P, object], *args: P.args, **named: P.kwargs) -> Took:
    """Run the call in this process and measure it."""
    forget_peak("self")
    cpu, wall = time.process_time(), time.perf_counter()
    call(*args, **named)
    return Took(time.perf_counter() - wall, time.process_time() - cpu, peak("self"))


def forget_peak(pid: int | str) -> None:
    """Let the process's peak of memory begin anew, at what it holds now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak(pid: int | str) -> int:
    """The most bytes that the process held resident since its start, or since `forget_peak`."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def percentile(values: list[float], share: float) -> float:
    """The value that `share` of the values don't exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def spread(values: list[float]) -> dict[str, float]:
    """Median, 95th percentile, extremes and number of measured seconds."""
    return {
        "median": median(values),
        "p95": percentile(values, 0.95),
        "least": min(values),
        "most": max(values),
        "times": len(values),
    }
