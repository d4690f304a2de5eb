"""`make bench`: measure the service and the client beside what they stand on, and keep what was found."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import TypeVar

sys.path[0] = str(Path(__file__).parent.parent)

from benchmarks import machine, results  # noqa: E402 - this is a script of a package: its root comes first
from benchmarks.column_engines import ChDB, Polars, is_installed  # noqa: E402
from benchmarks.contest import contest  # noqa: E402
from benchmarks.facts import MEMORY, Facts  # noqa: E402
from benchmarks.fetching import fetching  # noqa: E402
from benchmarks.kept_sums import prepare_rollups  # noqa: E402
from benchmarks.latency import busy, idle, questions  # noqa: E402
from benchmarks.loading import loading  # noqa: E402
from benchmarks.postgres import MOST_ROWS, Cluster, programs  # noqa: E402
from benchmarks.remembering import remembering  # noqa: E402
from benchmarks.reports import REPORTS  # noqa: E402
from benchmarks.rivals import ROW_BYTES, Bare, Pandas, Postgres, Rival  # noqa: E402
from benchmarks.service import Reelport  # noqa: E402
from benchmarks.years import years  # noqa: E402

MEMORY_BYTES = 2_000_000_000
T = TypeVar("T")
_HEAVY = {"huge"}
_LIBRARIES = ("polars", "chdb")
_RIVALS = ("pandas", "polars", "chdb", "postgres")
_PARTS = (*_RIVALS, *(report.name for report in REPORTS), "loading", "busy")
"""What `--without` leaves out: somebody to compare with, a report, another part."""
_LONGEST_HEAVY = 20_000_000
"""Rows beyond which only the bare engine makes the heaviest report beside the service: gigabytes, compared by row."""


def main(words: Sequence[str] | None = None) -> None:
    """Run it; leave with 1 when a goal was missed and `--strict` was given."""
    asked = _asked(words)
    facts = Facts(asked.rows)
    if asked.only != "client":
        facts.ready()
    settings = {"memory": MEMORY, "threads": _threads(), "rounds": asked.rounds, "cold": asked.cold}
    record = results.begin(asked.rows, {**settings, "rollups": not asked.no_rollups})
    if asked.only != "client":
        if "loading" not in asked.without:
            record["loading"] = _told("loading", loading(facts, 1 if asked.quick or asked.light else 3))
        record["rollups"] = [] if asked.no_rollups else prepare_rollups(facts)
        with ExitStack() as stack:
            _measure(record, facts, asked, stack)
    if asked.only != "service":
        record["client"] = _client(facts, 1 if asked.quick else asked.rounds, _rest(asked))
    met = results.finish(record, kept=not asked.quick)
    if asked.strict and not met:
        sys.exit(1)


def _asked(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of plays")
    parser.add_argument("--rounds", type=int, default=5, choices=range(1, 9), help="rounds of each report")
    parser.add_argument("--quick", action="store_true", help="one round of each, not kept")
    parser.add_argument("--without", action="append", default=[], choices=_PARTS, help="leave out")
    parser.add_argument("--light", action="store_true", help="the service beside the bare engine alone, loaded once")
    parser.add_argument("--no-rollups", action="store_true", help="let the service make every report from the facts")
    parser.add_argument("--with-postgres", action="store_true", help=f"also above {MOST_ROWS:,} rows")
    parser.add_argument("--only", choices=["service", "client"], help="leave out the other one")
    parser.add_argument("--cold", action="store_true", help="touch no memory before a turn: it may be the host's")
    parser.add_argument("--strict", action="store_true", help="fail when a goal is missed")
    return parser.parse_args(words)


def _measure(record: results.Record, facts: Facts, asked: argparse.Namespace, stack: ExitStack) -> None:
    reelport = stack.enter_context(closing(Reelport(facts, MEMORY, rollups=not asked.no_rollups)))
    bare = stack.enter_context(closing(Bare(facts, MEMORY, _threads())))
    others, record["skipped"] = _others(facts, asked)
    for other in others:
        stack.enter_context(closing(other))
    files = facts.folder / "files"
    record["reports"] = {}
    for report in (report for report in REPORTS if report.name not in asked.without):
        is_heavy = report.name in _HEAVY
        rounds = 1 if asked.quick else max(1, asked.rounds - 2) if is_heavy else asked.rounds
        present = [] if is_heavy and facts.rows > _LONGEST_HEAVY else others
        found = contest(report, (reelport, bare, *present), rounds, files, _rest(asked)).figures()
        record["reports"][report.name] = _told(report.name, found)
    small, huge = (next(report for report in REPORTS if report.name == name) for name in ("small", "huge"))
    fresh = questions(small)
    record["latency"] = {"idle": _told("idle", idle(reelport, small, fresh, facts.folder / "small.csv"))}
    reelport.forget_peak()
    if "busy" not in asked.without:
        record["latency"]["busy"] = _told("busy", busy(reelport, small, huge, fresh))
    peaks = [found["reelport"]["peak_bytes"] for found in record["reports"].values()]
    record["memory"] = {"peak_bytes": max([*peaks, reelport.peak()]), "limit_bytes": MEMORY_BYTES}


def _client(facts: Facts, rounds: int, rest: Callable[[], None]) -> dict[str, object]:
    """What the client adds: to a download, to a range of years, to each report that it remembers."""
    folder = facts.folder / "client"
    found: dict[str, object] = {}
    if shutil.which("curl"):
        found["download"] = _told("download", fetching(folder, rounds, rest))
    else:
        print("without curl: it is not installed")
    found["years"] = _told("years", years(folder, rounds))
    found["ledger"] = _told("ledger", remembering(folder))
    return found


def _others(facts: Facts, asked: argparse.Namespace) -> tuple[list[Rival], dict[str, str]]:
    """Who else is measured, and why some are not."""
    skipped = {name: "left out on request" for name in _RIVALS if asked.light or name in asked.without}
    memory_needed = facts.rows * ROW_BYTES
    if memory_needed > machine.memory() // 2:
        skipped["pandas"] = f"the huge report would need some {memory_needed / 1e9:.0f} GB of memory"
    skipped |= {name: "it is not installed: make bench-rivals" for name in _LIBRARIES if not is_installed(name)}
    folder = programs()
    if folder is None:
        skipped["postgres"] = "PostgreSQL's programs are not installed"
    elif facts.rows > MOST_ROWS and not asked.with_postgres:
        skipped["postgres"] = f"more than {MOST_ROWS:,} rows: give --with-postgres"
    makers: dict[str, Callable[[], Rival]] = {
        "pandas": lambda: Pandas(facts),
        "polars": lambda: Polars(facts, _threads()),
        "chdb": lambda: ChDB(facts, MEMORY_BYTES, _threads()),
        "postgres": lambda: Postgres(Cluster(facts, folder or Path())),
    }
    found = [make() for name, make in makers.items() if name not in skipped]
    for name, reason in skipped.items():
        print(f"without {name}: {reason}")
    return found, skipped


def _told(what: str, found: T) -> T:
    print(f"{what}: {found}", flush=True)
    return found


def _rest(asked: argparse.Namespace) -> Callable[[], None]:
    return partial(machine.rest, 0 if asked.cold else machine.IN_HAND)


def _threads() -> int:
    return os.cpu_count() or 1


if __name__ == "__main__":
    main()
