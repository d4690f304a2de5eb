"""Holds the simulation against a real service: the same reports, asked for at the same moments, of both.

    .venv/bin/python -m benchmarks.capacity.check
    .venv/bin/python -m benchmarks.capacity.check --seconds 120 --filled 0.8

First each kind of report is made alone, which tells its CPU; then partners ask at random, none of them twice for the
same days: a report that exists answers at once. A report's time is what the service's own state tells, from its ask to
its end. The simulation knows only the CPU of each kind. No rollups: it is reports that are to fill the worker.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime

import sqlalchemy as sa

from benchmarks import machine
from benchmarks.capacity.figures import load_figures
from benchmarks.capacity.measure import Cost, make
from benchmarks.capacity.model import WORKER_CORES
from benchmarks.capacity.simulation import Job, simulate
from benchmarks.crowd import Times, Wire
from benchmarks.facts import MEMORY, Facts
from benchmarks.measure import percentile
from benchmarks.reports import REPORTS, Report
from benchmarks.service import READERS, Reelport
from reelport.server.access import organizations
from reelport.server.state.database import connect, reading
from reelport.testing import Key, Service

_SMALL, _, _HUGE, _PLATFORM, _ = REPORTS
_KINDS: tuple[tuple[Report, float, int, range], ...] = (
    (_SMALL, 0.90, 60, range(40)),
    (_PLATFORM, 0.08, 8, range(40, 80)),
    (_HUGE, 0.02, 3, range(80, 100)),
)
"""Reports, the share of each, how often it is made alone, and the partners that ask for it."""
_PARTNERS = 100
_TIMES = sa.text(
    "SELECT o.name, (r.ended_at - r.created_at) / 1000.0 FROM reports AS r JOIN organizations AS o"
    " ON o.id = r.organization_id WHERE r.status = 'FINISHED' AND o.name LIKE 'check-%'"
)
_FAILED = sa.text("SELECT count(*) FROM reports WHERE status = 'FAILED'")


def draw_jobs(costs: Sequence[Cost], filled: float, seconds: float) -> list[Job]:
    """Draw the reports of a run that fills the worker's cores so far.

    Leaves with a sentence where partners would have to repeat a question.
    """
    drawn = random.Random(7)  # noqa: S311 - the same walk in every run
    shares = [share for _, share, _, _ in _KINDS]
    mean = sum(cost.worker * share for cost, share in zip(costs, shares, strict=True))
    left = {partner: report.questions for report, _, _, partners in _KINDS for partner in partners}
    jobs, now = list[Job](), 0.0
    while (now := now + drawn.expovariate(filled * WORKER_CORES / mean)) < seconds:
        (place,) = drawn.choices(range(len(_KINDS)), shares)
        cost, partners = costs[place], [partner for partner in _KINDS[place][3] if left[partner]]
        if not partners:
            raise SystemExit("There are no further days to ask about: give fewer --seconds.")
        cores = min(max(cost.worker / cost.seconds, 0.5), WORKER_CORES)
        jobs.append(Job(now, drawn.choice(partners), cost.worker, cores))
        left[jobs[-1].partner] -= 1
    return jobs


async def ask_all(jobs: Sequence[Job], service: Service, keys: Sequence[Key]) -> None:
    """Ask for each report at its moment; every partner has a token and questions of its own."""
    began = time.monotonic() + 1

    async def ask_as(partner: int) -> None:
        (report,) = (report for report, _, _, partners in _KINDS if partner in partners)
        async with Wire(service, keys[partner], Times()) as wire:
            await wire.grant()
            for shift, job in enumerate(job for job in jobs if job.partner == partner):
                await asyncio.sleep(max(0.0, began + job.asked - time.monotonic()))
                await wire.reconnect()
                await wire.ask(report.query(shift))

    async with asyncio.TaskGroup() as tasks:
        for partner in range(_PARTNERS):
            tasks.create_task(ask_as(partner))


def run(jobs: Sequence[Job], reelport: Reelport) -> list[tuple[str, float]]:
    """Let the service make them; the organization and the seconds of each."""
    db = connect(reelport.settings)
    try:
        for report, _, _, partners in _KINDS:
            for partner in partners:
                added = organizations.add_organization(db, f"check-{partner:03d}", datetime.now(UTC))
                organizations.allow_channels(db, added.id, READERS[report.organization])
        service = reelport.service
        asyncio.run(ask_all(jobs, service, [service.key(f"check-{partner:03d}") for partner in range(_PARTNERS)]))
        while len(found := _read_ends(db)) < len(jobs):
            time.sleep(0.5)
    finally:
        db.dispose()
    return found


def _read_ends(db: sa.Engine) -> list[tuple[str, float]]:
    """Read whose report took how many seconds, in a transaction that keeps no worker waiting."""
    with reading(db) as connection:
        if failed := connection.execute(_FAILED).scalar_one():
            raise RuntimeError(f"{failed} reports failed: nothing that was measured is worth anything")
        return [(str(name), float(seconds)) for name, seconds in connection.execute(_TIMES)]


def main() -> None:
    """Compare, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of plays")
    parser.add_argument("--seconds", type=float, default=90)
    parser.add_argument("--filled", type=float, default=0.6, help="how busy the worker's cores are to be")
    given = parser.parse_args()
    facts = Facts(given.rows)
    facts.ready()
    with closing(Reelport(facts, MEMORY, rollups=False)) as reelport:
        costs = [make(reelport, report, times) for report, _, times, _ in _KINDS]
        jobs = draw_jobs(costs, given.filled, given.seconds)
        real = run(jobs, reelport)
    ended = simulate(jobs, 1, cores=WORKER_CORES - load_figures().request_seconds * len(jobs) / given.seconds)
    print(f"{len(jobs)} reports in {given.seconds:.0f} s, load averages {machine.load()}\n")
    print("| report | asked | CPU s | real p50 | p95 | simulated p50 | p95 |\n|---|---|---|---|---|---|---|")
    for (report, _, _, partners), cost in zip(_KINDS, costs, strict=True):
        of_real = [seconds for name, seconds in real if int(name[-3:]) in partners]
        of_simulation = [job.ended - job.asked for job in ended if job.partner in partners]
        if not of_simulation:
            continue
        both = [percentile(found, share) for found in (of_real, of_simulation) for share in (0.5, 0.95)]
        cells = " | ".join(f"{seconds:.2f}" for seconds in both)
        print(f"| {report.name} | {len(of_simulation)} | {cost.worker:.3f} | {cells} |")


if __name__ == "__main__":
    main()
