"""A hundred partners who ask together, beside one partner's backlog: reports a second, and how soon they are answered.

    .venv/bin/python -m benchmarks.throughput --rows 10000000

*Back to back*: one partner has asked for 90 small reports; they are made one after the other, as many at a time as it
may have. *Together*: each of a hundred partners asks for a small report, looks at it every second until it is finished,
and asks for the next one. Both in turns. A request's time goes from its first byte to the last of its answer. First
with the settings for many partners on few cores (docs/operate/one-machine.md), then as the service is delivered.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

from benchmarks import results
from benchmarks.crowd import LOOK_SECONDS, Times, Wire, keys, questions
from benchmarks.facts import MEMORY, Facts
from benchmarks.measure import spread
from reelport.query import ReportQuery
from reelport.testing import Key, Service
from reelport.wire import ReportStatus

_BACKLOG = 90
"""Reports of the backlog: below the 100 of a partner that may wait."""
_SMALL = ("DAY", "VIDEO_TITLE")

_FOR_MANY: Mapping[str, Any] = {"processes": 2, "worker_nice": 20}

Asker = tuple[Key, Iterator[ReportQuery]]
"""A partner, and the questions that it has not asked yet."""


def measure(facts: Facts, settings: Mapping[str, Any], partners: int, seconds: float, rounds: int) -> dict[str, object]:
    """Reports a second both ways, in turns; the spread of asks and looks of the hundred."""
    facts.forget_state()
    backlog: list[float] = []
    crowd: list[float] = []
    times = Times()
    with Service(facts.data, log_level="warning", worker_memory=MEMORY, **settings) as service:
        found, _ = keys(service, partners + 1)
        one, *many = [(key, questions(_SMALL, 4)) for key in found]
        asyncio.run(_make_backlog(service, one, 5))
        for _ in range(rounds):
            backlog.append(asyncio.run(_make_backlog(service, one, _BACKLOG)))
            crowd.append(asyncio.run(_ask_at_once(service, many, times, seconds)))
    return {
        "settings": dict(settings),
        "partners": partners,
        "seconds": seconds,
        "back_to_back": median(backlog),
        "at_once": median(crowd),
        "ratio": median(crowd) / median(backlog),
        "ask": spread(times.of["ask"]),
        "look": spread(times.of["look"]),
        "report": spread(times.of["small report"]),
    }


async def _make_backlog(service: Service, asker: Asker, reports: int) -> float:
    """Ask for so many reports, and wait until the last is finished; reports a second."""
    key, fresh = asker
    async with Wire(service, key, Times()) as wire:
        await wire.grant()
        began = time.perf_counter()
        tokens = [await wire.ask(next(fresh)) for _ in range(reports)]
        for token in tokens:
            await _wait(wire, token, LOOK_SECONDS / 20)
        return reports / (time.perf_counter() - began)


async def _ask_at_once(service: Service, askers: list[Asker], times: Times, seconds: float) -> float:
    """Let all of them ask for so many seconds; finished reports a second."""
    until = time.monotonic() + seconds
    async with asyncio.TaskGroup() as tasks:
        asking = [
            tasks.create_task(_ask_again(service, asker, times, place / len(askers), until))
            for place, asker in enumerate(askers)
        ]
    return sum(task.result() for task in asking) / seconds


async def _ask_again(service: Service, asker: Asker, times: Times, late: float, until: float) -> int:
    """One report after the other; how many were finished in time. The last one is waited for."""
    key, fresh = asker
    done = 0
    async with Wire(service, key, times) as wire:
        await wire.grant()
        await asyncio.sleep(late * LOOK_SECONDS)
        while time.monotonic() < until:
            began = time.perf_counter()
            await _wait(wire, await wire.ask(next(fresh)), LOOK_SECONDS)
            times.note("small report", began)
            done += time.monotonic() < until
    return done


async def _wait(wire: Wire, token: str, pause: float) -> None:
    while (status := await wire.look(token)) == ReportStatus.IN_PROGRESS:  # noqa: ASYNC110 - it polls
        await asyncio.sleep(pause)
    if status != ReportStatus.FINISHED:
        raise RuntimeError(f"a report ended as {status}")


def main() -> None:
    """Measure, print a table, and keep the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of plays")
    parser.add_argument("--partners", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=20, help="of each turn of the hundred")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="one turn of five seconds, not kept")
    asked = parser.parse_args()
    facts = Facts(asked.rows)
    facts.ready()
    record = results.begin(asked.rows, {"memory": MEMORY, "rounds": asked.rounds})
    seconds, rounds = (5.0, 1) if asked.quick else (asked.seconds, asked.rounds)
    for name, settings in (("crowd", _FOR_MANY), ("crowd_as_delivered", {})):
        record[name] = measure(facts, settings, asked.partners, seconds, rounds)
    results.finish(record, kept=not asked.quick)


if __name__ == "__main__":
    main()
