"""Generate and load sample facts: realistic rows for every table and each day of a range."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa

from reelport.errors import UsageError
from reelport.facts.loading.load import load_arrow
from reelport.facts.log.delta_log import read_newest
from reelport.facts.log.history import active_batches, read_history
from reelport.facts.sample.draws import (
    KINDS,
    RowCounts,
    SampleEngine,
    draw_fact_portions,
    fact_schema,
    make_object_tables,
    spread_rows,
)
from reelport.facts.sample.videos import FIRST_DAY, make_videos
from reelport.facts.sample.world import CHANNELS, ORGANIZATIONS
from reelport.facts.tables import TABLES
from reelport.storage.durable import make_folder, translate_io_errors

MOST_DAYS = 3660
MOST_ROWS = 10**10
MOST_SEED = 2**31 - 1
_BATCH = re.compile(r"sample-(\d{4}-\d\d-\d\d)-(\d{4}-\d\d-\d\d)-\d+-\d+-[a-z]+")

Progress = Callable[[str, int, int], None]
"""Called with a table, the number of its rows drawn so far, and the number in all."""


@dataclass(frozen=True, slots=True)
class SampleResult:
    """A call's result: the rows of each fact table, and the world's organizations.

    `changed` is false when everything was loaded already. `organizations` are the ids
    of each organization's channels, `slugs` the slugs of the same channels.
    """

    rows: Mapping[str, int]
    changed: bool
    organizations: Mapping[str, tuple[str, ...]]
    slugs: Mapping[str, tuple[str, ...]]


def generate(
    root: Path, start: date, end: date, rows: int, seed: int = 1, progress: Progress | None = None
) -> SampleResult:
    """Load `rows` sample facts of these days, both included, into the tables under `root`.

    `rows` is the total over the fact tables, mostly plays. Repeating the same call finishes what was
    interrupted, or changes nothing. Raises UsageError for an invalid range or number, and when other
    sample facts are loaded for one of the days.
    """
    check_arguments(start, end, rows, seed)
    with _lock_root(root):
        return _generate(root, start, end, rows, seed, progress)


@contextmanager
def _lock_root(root: Path) -> Iterator[None]:
    """Lock the folder: a second call waits, and then sees what the first loaded."""
    with translate_io_errors(root):
        make_folder(root)
        folder = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _generate(root: Path, start: date, end: date, rows: int, seed: int, progress: Progress | None) -> SampleResult:
    call = f"sample-{start}-{end}-{rows}-{seed}"
    _check_days_free(root, start, end, call)
    spread = spread_rows(rows, start, end, seed)
    cast = list(make_videos(seed, start, end))
    loads = [load_arrow(root, name, table, f"{call}-{name}") for name, table in make_object_tables(cast).items()]
    totals = _sum_by_table(spread)
    with closing(SampleEngine(seed, cast)) as stage:
        for name in (name for name, total in totals.items() if total):
            drawn = _draw_batches(name, stage, spread, totals[name], progress)
            reader = pa.RecordBatchReader.from_batches(fact_schema(name), drawn)
            loads.append(load_arrow(root, name, reader, f"{call}-{name}"))
    changed = any(not load.already for load in loads)
    return SampleResult(totals, changed, ORGANIZATIONS, _slugs_by_organization())


def check_arguments(start: date, end: date, rows: int, seed: int) -> None:
    """Raise UsageError with every problem of what `generate` is to make."""
    problems = []
    if start < FIRST_DAY:
        problems.append(f"sample facts begin on {FIRST_DAY} at the earliest, not on {start}")
    if start > end:
        problems.append(f"the days are reversed: {start} is after {end}")
    if (end - start).days >= MOST_DAYS:
        problems.append(f"{start} to {end} are more than {MOST_DAYS} days")
    if not 1 <= rows <= MOST_ROWS:
        problems.append(f"rows must be from 1 to {MOST_ROWS}, not {rows}")
    if not 0 <= seed <= MOST_SEED:
        problems.append(f"the seed must be from 0 to {MOST_SEED}, not {seed}")
    if problems:
        raise UsageError("\n".join(problems))


def _check_days_free(root: Path, start: date, end: date, call: str) -> None:
    """Raise UsageError if another sample has facts on these days: they would hold both."""
    taken = {
        batch
        for table in TABLES.values()
        if table.is_fact
        for batch in active_batches(read_history(read_newest(root, table)))
        if batch != f"{call}-{table.name}" and _is_overlapping(batch, start, end)
    }
    if taken:
        undo = "\n".join(f"reelport load undo {batch}" for batch in sorted(taken))
        raise UsageError(
            f"sample facts lie on some of these days already: take other days, or first undo them:\n{undo}"
        )


def _is_overlapping(batch: str, start: date, end: date) -> bool:
    found = _BATCH.fullmatch(batch)
    return found is not None and found[1] <= end.isoformat() and found[2] >= start.isoformat()


def _sum_by_table(spread: RowCounts) -> dict[str, int]:
    totals = dict.fromkeys((name for name, table in TABLES.items() if table.is_fact), 0)
    for kind, of_day in spread.items():
        totals[KINDS[kind]] += sum(of_day.values())
    return totals


def _draw_batches(
    table: str, stage: SampleEngine, spread: RowCounts, total: int, progress: Progress | None
) -> Iterator[pa.RecordBatch]:
    done = 0
    for portion in draw_fact_portions(table, stage, spread):
        yield from portion.to_batches()
        done += len(portion)
        if progress is not None:
            progress(table, done, total)


def _slugs_by_organization() -> Mapping[str, tuple[str, ...]]:
    return {name: tuple(channel.slug for channel in CHANNELS if channel.organization == name) for name in ORGANIZATIONS}
