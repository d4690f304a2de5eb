"""The paper: what a platform needs of each resource, and which one is the first limit of one machine."""

from __future__ import annotations

import math
from dataclasses import dataclass

from benchmarks.capacity.figures import Figures
from benchmarks.capacity.platforms import QUESTIONS, Platform

FILLED = 0.7
"""How busy a resource may be in the busiest hour: the rest is room for chance."""
WORKER_CORES, SLOTS = 2, 3
RETENTION_DAYS = 2
LOAD_HOURS = 1.0
"""Hours in which a day's rows are to be loaded."""


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine: what there is of each resource."""

    cores: int = 16
    disk_bytes: float = 4e12


@dataclass(frozen=True, slots=True)
class Work:
    """The mean report of a platform: seconds of the CPU, and of the clock where nothing else runs."""

    mean: float
    alone: float


@dataclass(frozen=True, slots=True)
class Needs:
    """What the busiest hour needs, and what is kept."""

    work: Work
    workers: int
    time: float
    """Seconds of the mean report, from its ask to its end."""
    api_cores: float
    load_cores: float
    state_share: float
    """Share of the time in which the state's one writer is at work."""
    fact_bytes: float
    file_bytes: float

    @property
    def worker_cores(self) -> int:
        """Cores of all workers."""
        return self.workers * WORKER_CORES

    def fills(self, machine: Machine) -> dict[str, float]:
        """How many times over each resource of one machine is needed; above 1 it is too little."""
        return {
            "workers": self.worker_cores / machine.cores,
            "API": self.api_cores / FILLED / machine.cores,
            "loading": self.load_cores / machine.cores,
            "state": self.state_share / FILLED,
            "disk": (self.fact_bytes * 2 + self.file_bytes) / machine.disk_bytes,
        }


def compute_needs(platform: Platform, figures: Figures) -> Needs:
    """Compute what a platform needs, from the means of what it asks."""
    work = _compute_work(platform, figures)
    busy = platform.busiest * work.mean
    workers = max(1, math.ceil(busy / FILLED / WORKER_CORES))
    return Needs(
        work=work,
        workers=workers,
        time=_compute_time(platform, work, workers),
        api_cores=platform.busiest * figures.request_seconds,
        load_cores=platform.rows_a_day / 1e6 * figures.load_seconds / (LOAD_HOURS * 3600),
        state_share=platform.busiest * figures.report_commits * figures.commit_seconds,
        fact_bytes=platform.rows * figures.fact_bytes,
        file_bytes=_mean_written(platform)
        * figures.file_bytes
        * platform.partners
        * platform.reports_a_day
        * RETENTION_DAYS,
    )


def _compute_work(platform: Platform, figures: Figures) -> Work:
    mean = alone = 0.0
    for partner in range(platform.partners):
        for question in QUESTIONS:
            seconds = figures.report(platform.size(partner, question))
            mean += seconds * question.share / platform.partners
            alone += seconds / figures.cores(seconds) * question.share / platform.partners
    return Work(mean, alone)


def _mean_written(platform: Platform) -> float:
    rows = sum(
        platform.size(partner, each).written * each.share for partner in range(platform.partners) for each in QUESTIONS
    )
    return rows / platform.partners


def _compute_time(platform: Platform, work: Work, workers: int) -> float:
    """Compute the seconds of the mean report, by Sakasegawa's formula for several servers.

    Reports share their worker's cores, so that a short one doesn't wait for a long one: how unequal they are doesn't
    matter, where a queue in order would make it worse.
    """
    filled = platform.busiest * work.mean / workers / WORKER_CORES
    if filled >= 1:
        return math.inf
    slowed = float(filled ** (math.sqrt(2 * (workers + 1)) - 1)) / (workers * (1 - filled))
    return work.alone * (1 + slowed)
