"""How good estimates of a report's end are, over the reports that are measured, on an idle and on a busy service.

    .venv/bin/python -m benchmarks.estimates --rows 10000000

Each report is asked for, and looked at every tenth of a second until it ends. Each look that has an estimate is held
against the end: it is good where what was left by the estimate is within twice or half of what was left in truth, or
within a second of it. *Idle*: one report at a time. *Busy*: all reports several times at once. The first reports of
each kind are counted apart: their speed is not known yet.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count

from benchmarks.facts import MEMORY, Facts
from benchmarks.reports import REPORTS, Report
from benchmarks.service import Reelport, Wire

_PAUSE = 0.1
_TWOFOLD = 2.0
_NEAR = 1.0
"""Seconds by which an estimate may be wrong whatever is left."""
_BURST = 4
"""How often each report is asked for in a burst."""


@dataclass
class Watch:
    """A report that is looked at: when, by time.time(), and what its estimate was."""

    report: Report
    wire: Wire
    token: str
    looks: list[tuple[float, float]] = field(default_factory=list)
    asked_at: float = field(default_factory=time.time)
    ended_at: float = 0.0

    def look(self) -> bool:
        """Look once; whether it has ended."""
        now = time.time()
        told = self.wire.details(self.token)
        if told["state"] not in {"queued", "running"}:
            self.ended_at = now
            return True
        if told["estimatedReadyAt"] is not None:
            self.looks.append((now, datetime.fromisoformat(told["estimatedReadyAt"]).timestamp()))
        return False

    def judge(self) -> Iterator[tuple[bool, float]]:
        """Whether each estimate was good, and its ratio to the truth."""
        for at, estimate in self.looks:
            left, told = self.ended_at - at, max(estimate - at, 1e-3)
            ratio = told / max(left, 1e-3)
            yield 1 / _TWOFOLD <= ratio <= _TWOFOLD or abs(told - left) <= _NEAR, ratio


def watch_all(watches: list[Watch]) -> list[Watch]:
    """Look at all of them until each has ended."""
    left = list(watches)
    while left:
        left = [each for each in left if not each.look()]
        time.sleep(_PAUSE)
    return watches


def summarize(watches: list[Watch]) -> dict[str, object]:
    """Count estimates, and the good ones, by report and in all; a report's first and middle estimate too."""

    def share(judged: list[tuple[bool, float]]) -> float:
        return round(sum(good for good, _ in judged) / max(len(judged), 1), 3)

    by: dict[str, list[tuple[bool, float]]] = defaultdict(list)
    for each in watches:
        by[each.report.name] += each.judge()
    judged = [one for some in by.values() for one in some]
    return {
        "reports": len(watches),
        "with_estimates": sum(bool(each.looks) for each in watches),
        "estimates": len(judged),
        "good": share(judged),
        "good_by_report": {name: share(some) for name, some in by.items()},
        "ratios": sorted(round(ratio, 2) for _, ratio in judged)[:: max(len(judged) // 9, 1)],
        "seconds": {each.report.name: round(each.ended_at - each.asked_at, 1) for each in watches},
    }


def measure(facts: Facts, rounds: int) -> dict[str, object]:
    """Measure one service from its start on: the first reports, then idle ones, then bursts."""
    reelport, shifts = Reelport(facts, MEMORY), count(1)
    try:
        with ExitStack() as stack:
            wires = {name: stack.enter_context(reelport.wire(name)) for name in {each.organization for each in REPORTS}}

            def ask(report: Report) -> Watch:
                wire = wires[report.organization]
                return Watch(report, wire, wire.ask(report.query(next(shifts))))

            first = [watch for report in REPORTS for watch in watch_all([ask(report)])]
            idle = [watch for _ in range(rounds) for report in REPORTS for watch in watch_all([ask(report)])]
            busy = [
                watch
                for _ in range(rounds)
                for watch in watch_all([ask(report) for _ in range(_BURST) for report in REPORTS])
            ]
    finally:
        reelport.close()
    return {"first": summarize(first), "idle": summarize(idle), "busy": summarize(busy)}


def main() -> None:
    """Measure, and print what was found as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument(
        "--rounds", type=int, default=1, help="more than 1 repeats questions, which earlier reports answer"
    )
    given = parser.parse_args()
    print(json.dumps(measure(Facts(given.rows), given.rounds), indent=2))


if __name__ == "__main__":
    main()
