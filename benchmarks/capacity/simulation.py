"""The simulation: reports that come at random, wait by the queue's rules and share the cores of their worker.

The rules are those of `server/queue/jobs.sql`: the partner that was served least recently comes first, and has at
most two running. A worker makes up to three at a time; they share its cores, and a small report can't use two. While
each of these takes long there is one more, the express one: what takes long there too begins anew in another slot.
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
EXPRESS_SECONDS = 1.0


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
    is_long: bool = False

    def __post_init__(self) -> None:
        self.left = self.work


@dataclass(slots=True, eq=False)
class _Worker:
    cores: float
    slots: int
    jobs: list[Job] = field(default_factory=list)
    at: float = 0.0
    version: int = 0
    express: Job | None = None

    def is_full(self) -> bool:
        return len(self.jobs) - (self.express is not None) >= self.slots

    def is_express_open(self, now: float) -> bool:
        return len(self.jobs) == self.slots and not self.express and self.express_at() <= now

    def express_at(self) -> float:
        """The moment from which all of its reports take long."""
        return max(job.begun for job in self.jobs) + EXPRESS_SECONDS

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

    def take(self, now: float, *, express: bool = False) -> Job | None:
        """Take the next report; for an express slot one that isn't known as long."""
        passed = list[tuple[float, int]]()
        found = None
        while self._ready and found is None:
            served, partner = heapq.heappop(self._ready)
            if not self._is_ready(partner) or served != self._served.get(partner, -1.0):
                continue
            found = next((job for job in self._waiting[partner] if not (express and job.is_long)), None)
            if found is None:
                passed.append((served, partner))
            else:
                self._served[partner] = now
                self._running[partner] = self._running.get(partner, 0) + 1
                self._waiting[partner].remove(found)
                self._offer(partner)
        for each in passed:
            heapq.heappush(self._ready, each)
        return found

    def put_back(self, job: Job) -> None:
        """Put a report in front that was too long for an express slot."""
        job.is_long, job.left = True, job.work
        self._waiting[job.partner].appendleft(job)
        self.end(job.partner)

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
        self._moments: list[float] = []
        self._order = count()
        self._draw = random.Random(1)  # noqa: S311 - the same run each time

    def find_open(self) -> _Worker | None:
        """Find one with room: workers without a report hear of one first."""
        found = [worker for worker in self._all if not worker.is_full()]
        return min(found, key=lambda worker: (len(worker.jobs), self._draw.random()), default=None)

    def find_express(self, now: float) -> _Worker | None:
        """Find one whose slots are all held for long."""
        return next((worker for worker in self._all if worker.is_express_open(now)), None)

    def begin(self, worker: _Worker, job: Job, now: float, *, express: bool = False) -> None:
        """Begin a report; some time later its slots may be held for long, or an express one be over."""
        worker.advance(now)
        job.begun = now
        worker.jobs.append(job)
        if express:
            worker.express = job
        heapq.heappush(self._moments, now + EXPRESS_SECONDS)
        self._plan(worker)

    def next_moment(self) -> float:
        """The next moment at which time alone may change something."""
        return self._moments[0] if self._moments else math.inf

    def pass_moment(self) -> list[Job]:
        """Let it pass; the reports that were too long for an express slot."""
        now, late = heapq.heappop(self._moments), list[Job]()
        for worker in self._all:
            if worker.express is not None and worker.express.begun + EXPRESS_SECONDS <= now:
                worker.advance(now)
                late.append(worker.express)
                worker.jobs.remove(worker.express)
                worker.express = None
                self._plan(worker)
        return late

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
        worker.express = None  # it has ended, or another one's slot is free for it
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
        now = min(asked.asked if asked else math.inf, pool.next_end(), pool.next_moment())
        if math.isinf(now):
            return ended
        if asked and asked.asked == now:
            queue.put(asked)
            asked = next(coming, None)
        elif pool.next_end() == now:
            ended.append(pool.end_next())
            queue.end(ended[-1].partner)
        else:
            for late in pool.pass_moment():
                queue.put_back(late)
        while (worker := pool.find_open()) and (job := queue.take(now)):
            pool.begin(worker, job, now)
        while (worker := pool.find_express(now)) and (job := queue.take(now, express=True)):
            pool.begin(worker, job, now, express=True)


def draw_jobs(platform: Platform, figures: Figures, seconds: float, seed: int = 1) -> Iterator[Job]:
    """Draw the reports of so many seconds of the busiest hour."""
    drawn, now = random.Random(seed), 0.0  # noqa: S311 - the same walk in every run
    while (now := now + drawn.expovariate(platform.busiest)) < seconds:
        partner, question = platform.draw(drawn)
        work = figures.report(platform.size(partner, question))
        yield Job(now, partner, work, figures.cores(work))
