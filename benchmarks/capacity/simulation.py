"""The simulation: reports that come at random, wait by the queue's rules and share the cores of their worker.

The rules are those of `server/queue/jobs.sql`: the partner that was served least recently comes first, and has at
most two running. A worker makes up to three at a time; they share its cores, and a small report can't use two.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count

from benchmarks.capacity.figures import Figures
from benchmarks.capacity.model import SLOTS, WORKER_CORES
from benchmarks.capacity.platforms import Platform

RUNNING_LIMIT = 2


@dataclass(slots=True, eq=False)
class Job:
    """A report: when it was asked for, by whom, and the CPU seconds that are left of it."""

    asked: float
    partner: int
    work: float
    cores: float
    left: float = 0.0
    begun: float = 0.0
    ended: float = 0.0

    def __post_init__(self) -> None:
        self.left = self.work


@dataclass(slots=True, eq=False)
class _Worker:
    cores: float
    slots: int
    jobs: list[Job] = field(default_factory=list)
    at: float = 0.0
    version: int = 0

    def rates(self) -> list[float]:
        """Share the cores: who can't use its part leaves it to the others."""
        rates, left = [0.0] * len(self.jobs), self.cores
        order = sorted(range(len(self.jobs)), key=lambda place: self.jobs[place].cores)
        for done, place in enumerate(order):
            rates[place] = min(self.jobs[place].cores, left / (len(order) - done))
            left -= rates[place]
        return rates

    def advance(self, now: float) -> None:
        for job, rate in zip(self.jobs, self.rates(), strict=True):
            job.left -= rate * (now - self.at)
        self.at = now

    def next_end(self) -> float:
        return self.at + min(max(job.left, 0) / rate for job, rate in zip(self.jobs, self.rates(), strict=True))


class _Queue:
    """Waiting reports by partner; the least recently served one with room comes first."""

    def __init__(self) -> None:
        self._waiting: dict[int, deque[Job]] = {}
        self._running: dict[int, int] = {}
        self._served: dict[int, float] = {}
        self._ready: list[tuple[float, int]] = []

    def put(self, job: Job) -> None:
        self._waiting.setdefault(job.partner, deque()).append(job)
        self._offer(job.partner)

    def take(self, now: float) -> Job | None:
        while self._ready:
            served, partner = heapq.heappop(self._ready)
            if self._is_ready(partner) and served == self._served.get(partner, -1.0):
                self._served[partner] = now
                self._running[partner] = self._running.get(partner, 0) + 1
                job = self._waiting[partner].popleft()
                self._offer(partner)
                return job
        return None

    def end(self, partner: int) -> None:
        self._running[partner] -= 1
        self._offer(partner)

    def _is_ready(self, partner: int) -> bool:
        return bool(self._waiting.get(partner)) and self._running.get(partner, 0) < RUNNING_LIMIT

    def _offer(self, partner: int) -> None:
        if self._is_ready(partner):
            heapq.heappush(self._ready, (self._served.get(partner, -1.0), partner))


class _Workers:
    """The workers, and the moment at which the next report of each ends."""

    def __init__(self, number: int, cores: float, slots: int) -> None:
        self._all = [_Worker(cores, slots) for _ in range(number)]
        self._ends: list[tuple[float, int, int, int]] = []
        self._order = count()
        self._draw = random.Random(1)  # noqa: S311 - the same run each time

    def find_open(self) -> _Worker | None:
        """Find one with room: workers without a report hear of one first."""
        found = [worker for worker in self._all if len(worker.jobs) < worker.slots]
        return min(found, key=lambda worker: (len(worker.jobs), self._draw.random()), default=None)

    def begin(self, worker: _Worker, job: Job, now: float) -> None:
        worker.advance(now)
        job.begun = now
        worker.jobs.append(job)
        self._plan(worker)

    def next_end(self) -> float:
        """The moment at which the next report ends; infinite while none is made."""
        while self._ends:
            moment, _, place, version = self._ends[0]
            if version == self._all[place].version:
                return moment
            heapq.heappop(self._ends)
        return math.inf

    def end_next(self) -> Job:
        """End that report."""
        now, _, place, _ = heapq.heappop(self._ends)
        worker = self._all[place]
        worker.advance(now)
        job = min(worker.jobs, key=lambda each: each.left)
        worker.jobs.remove(job)
        job.ended = now
        self._plan(worker)
        return job

    def _plan(self, worker: _Worker) -> None:
        worker.version += 1
        if worker.jobs:
            end = (worker.next_end(), next(self._order), self._all.index(worker), worker.version)
            heapq.heappush(self._ends, end)


def simulate(jobs: Iterable[Job], workers: int, *, cores: float = WORKER_CORES, slots: int = SLOTS) -> list[Job]:
    """Let reports, in order of their asks, be made by so many workers; all of them, ended."""
    pool, queue, ended = _Workers(workers, cores, slots), _Queue(), list[Job]()
    coming = iter(jobs)
    asked = next(coming, None)
    while True:
        now = min(asked.asked if asked else math.inf, pool.next_end())
        if math.isinf(now):
            return ended
        if asked and asked.asked == now:
            queue.put(asked)
            asked = next(coming, None)
        else:
            ended.append(pool.end_next())
            queue.end(ended[-1].partner)
        while (worker := pool.find_open()) and (job := queue.take(now)):
            pool.begin(worker, job, now)


def draw_jobs(platform: Platform, figures: Figures, seconds: float, seed: int = 1) -> Iterator[Job]:
    """Draw the reports of so many seconds of the busiest hour."""
    drawn, now = random.Random(seed), 0.0  # noqa: S311 - the same walk in every run
    while (now := now + drawn.expovariate(platform.busiest)) < seconds:
        partner, question = platform.draw(drawn)
        work = figures.report(platform.size(partner, question))
        yield Job(now, partner, work, figures.cores(work))
