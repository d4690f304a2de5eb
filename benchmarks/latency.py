"""How soon the service answers: a small report on an idle service, and single requests while two big reports run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path

from benchmarks.facts import DAYS
from benchmarks.measure import spread
from benchmarks.reports import Report
from benchmarks.service import Reelport, Wire
from reelport.query import ReportQuery
from reelport.wire import ReportStatus

_LOOK_SECONDS = 0.005
_HELD_SECONDS = 10
_TIMES = 40
_ASKS = 90
"""Asks under load: below the 100 reports of a partner that may wait."""
_TOKENS = 40
"""Tokens under load: where the huge reports take minutes, more would be refused as too many."""
_PAUSE = 0.005
_DEADLINE = 60.0

Spread = dict[str, float]


def questions(report: Report) -> Iterator[ReportQuery]:
    """The report as nobody asked for it before, its metrics the other way round, over ever other days."""
    start, _ = report.span(0)
    for days in range(report.days, 0, -1):
        for passed in range(DAYS - days + 1):
            first = start + timedelta(days=passed)
            asked = report.query(0).within(first, first + timedelta(days=days - 1))
            yield replace(asked, metrics=asked.metrics[::-1])


def idle(reelport: Reelport, small: Report, fresh: Iterator[ReportQuery], to: Path) -> dict[str, Spread]:
    """Seconds from the ask to FINISHED, by a held look and by looks every few milliseconds; and to our client's file.

    `fresh` gives questions that were never asked, so that none is answered by an earlier report.
    """
    with reelport.wire(small.organization) as wire:
        finish_held(wire, next(fresh))
        held = [_seconds(lambda: finish_held(wire, next(fresh))) for _ in range(_TIMES)]
        finished = [_seconds(lambda: _finished(wire, next(fresh))) for _ in range(_TIMES)]
    with reelport.client(small.organization) as client:
        client.reports.run(next(fresh), to)
        files = [_seconds(lambda: client.reports.run(next(fresh), to)) for _ in range(_TIMES)]
    return {
        "ask_to_finished_held": spread(held),
        "ask_to_finished": spread(finished),
        "ask_to_file_by_client": spread(files),
    }


def busy(reelport: Reelport, small: Report, huge: Report, fresh: Iterator[ReportQuery]) -> dict[str, Spread]:
    """Seconds of single requests of one partner, in the time in which two huge reports of another are being made."""
    shifts = count(100)
    times: dict[str, list[float]] = {"token": [], "ask": [], "look": []}
    until = time.monotonic() + _DEADLINE
    with reelport.wire(small.organization) as wire, reelport.wire(huge.organization) as other:
        last = _Last(wire.ask(next(fresh)))
        while len(times["ask"]) < _ASKS and time.monotonic() < until:
            big = [other.ask(_narrowed(huge, next(shifts))) for _ in range(2)]
            time.sleep(4 * _LOOK_SECONDS)
            while all(other.look(token) == ReportStatus.IN_PROGRESS for token in big):
                if len(times["ask"]) < _ASKS:
                    times["ask"].append(_seconds(lambda: last.keep(wire.ask(next(fresh)))))
                times["look"].append(_seconds(lambda: wire.look(last.token)))
                if len(times["look"]) % 4 == 0 and len(times["token"]) < _TOKENS:
                    times["token"].append(_seconds(wire.grant))
                time.sleep(_PAUSE)
            for token in big:
                _await(other, token)
        _await(wire, last.token)
    return {name: spread(found) for name, found in times.items()}


class _Last:
    """The token of the report that was asked for last."""

    def __init__(self, token: str) -> None:
        self.token = token

    def keep(self, token: str) -> None:
        self.token = token


def _narrowed(report: Report, number: int) -> ReportQuery:
    """The report with a few days less at its end: another question, of nearly the same weight."""
    start, end = report.span(number)
    return report.query(number).within(start, end - timedelta(days=1 + number // (DAYS - report.days + 1) % 30))


def finish_held(wire: Wire, query: ReportQuery) -> None:
    """Ask, then look once: the service answers when the report has ended."""
    token = wire.ask(query)
    while (status := wire.look(token, _HELD_SECONDS)) == ReportStatus.IN_PROGRESS:
        pass  # it was made for longer than a look is held
    if status != ReportStatus.FINISHED:
        raise RuntimeError(f"a report ended as {status}")


def _finished(wire: Wire, query: ReportQuery) -> None:
    _await(wire, wire.ask(query))


def _await(wire: Wire, token: str) -> None:
    while (status := wire.look(token)) == ReportStatus.IN_PROGRESS:
        time.sleep(_LOOK_SECONDS)
    if status != ReportStatus.FINISHED:
        raise RuntimeError(f"a report ended as {status}")


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
