"""`make capacity`: what platforms of some sizes need, on paper and simulated, as tables in Markdown.

.venv/bin/python -m benchmarks.capacity
.venv/bin/python -m benchmarks.capacity --partners 300 --rows-a-day 5e6 --reports-a-day 50
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from statistics import mean

from benchmarks.capacity.figures import Figures, load_figures
from benchmarks.capacity.model import Machine, Needs, compute_needs
from benchmarks.capacity.platforms import PLATFORMS, Platform
from benchmarks.capacity.simulation import draw_jobs, simulate
from benchmarks.measure import percentile

_REPORTS = 5_000
_CORE_MONTH, _TERABYTE_MONTH = 20.0, 25.0
"""Prices that a reader replaces: euros a month for a core with its memory, and for a terabyte on a disk."""


def tell_needs(platforms: Sequence[Platform], figures: Figures) -> None:
    """Print what each needs in its busiest hour, what it keeps and costs, and what fills one machine first."""
    names = ("worker cores", "API cores", "load cores", "tables", "files", "€ a month", "first limit of one machine")
    _start_table("reports a second", *names)
    for platform in platforms:
        needs = compute_needs(platform, figures)
        cores = (f"{needs.worker_cores:,}", f"{needs.api_cores:.2f}", f"{needs.load_cores:.2f}")
        kept = (_write_bytes(needs.fact_bytes), _write_bytes(needs.file_bytes))
        fill, limit = max((fill, name) for name, fill in needs.fills(Machine()).items())
        _print_row(
            platform, f"{platform.busiest:.2f}", *cores, *kept, f"{_cost(needs):,.0f}", f"{limit}: {fill * 100:,.0f} %"
        )


def tell_times(platforms: Sequence[Platform], figures: Figures) -> None:
    """Print the times that the paper tells beside those of the simulation, in seconds."""
    _start_table(
        "workers", "mean, paper", "mean, simulated", "busy", "small report p95", "p99", "all reports p95", "p99"
    )
    for platform in platforms:
        needs = compute_needs(platform, figures)
        jobs = simulate(draw_jobs(platform, figures, _REPORTS / platform.busiest), needs.workers)
        busy = sum(job.work for job in jobs) / max(job.ended for job in jobs) / needs.worker_cores
        middle = percentile([job.work for job in jobs], 0.5)
        small = [job.ended - job.asked for job in jobs if job.work <= middle]
        times = [job.ended - job.asked for job in jobs]
        means = (f"{needs.time:.3f}", f"{mean(times):.3f}", f"{busy:.0%}")
        ends = (f"{percentile(found, share):.2f}" for found in (small, times) for share in (0.95, 0.99))
        _print_row(platform, str(needs.workers), *means, *ends)


def _start_table(*names: str) -> None:
    print(f"| partners | rows a day | reports of each | {' | '.join(names)} |\n|---|---|---|{'---|' * len(names)}")


def _print_row(platform: Platform, *cells: str) -> None:
    of = f"{platform.partners:,} | {platform.rows_a_day:,.0f} | {platform.reports_a_day:.0f}"
    print(f"| {of} | {' | '.join(cells)} |")


def _cost(needs: Needs) -> float:
    cores = needs.worker_cores + needs.api_cores + needs.load_cores
    return cores * _CORE_MONTH + (needs.fact_bytes * 2 + needs.file_bytes) / 1e12 * _TERABYTE_MONTH


def _write_bytes(size: float) -> str:
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size / 1e3:.1f} kB"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--partners", type=int)
    parser.add_argument("--rows-a-day", type=float, default=1e6)
    parser.add_argument("--reports-a-day", type=float, default=20, help="of each partner")
    parser.add_argument("--days", type=int, default=1000, help="days that are kept")
    given = parser.parse_args()
    asked = (Platform(given.partners or 0, given.rows_a_day, given.reports_a_day, given.days),)
    platforms, figures = asked if given.partners else PLATFORMS, load_figures()
    print(f"{figures}\n")
    for tell in (tell_needs, tell_times):
        tell(platforms, figures)
        print()


if __name__ == "__main__":
    main()
