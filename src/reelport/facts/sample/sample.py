"""Generate and load sample facts: realistic rows for every table and each day of a range.

A draw is a hash of the seed, the table, the day, the row's number in that day and a word. So it is the same for any
number of threads and any size of portions. The SQL files say what is drawn.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import date, timedelta
from importlib import resources
from itertools import accumulate
from pathlib import Path
from random import Random

import duckdb
import pyarrow as pa

from reelport.errors import UsageError
from reelport.facts.allowed_values import USAGE_KINDS
from reelport.facts.loading.load import load_arrow
from reelport.facts.log.delta_log import read_newest
from reelport.facts.log.history import active_batches, read_history
from reelport.facts.tables import BATCH, TABLES, stored_schema
from reelport.storage.durable import make_folder, translate_io_errors
from reelport.storage.locked_folders import lock_folder

FIRST_DAY = date(2020, 1, 1)
"""The earliest day of sample facts; all videos but the uploads are older."""
MOST_DAYS = 3660
MOST_ROWS = 10**10
MOST_SEED = 2**31 - 1
PORTION = 400_000
"""The most rows that are drawn, and held in memory, at a time."""
STORED = 4000 * 5
"""The most rows of storage in one day: every rendition of every video on the shelf."""
_SHARES = {"plays": 700, "ads": 180, "earnings": 70, "bandwidth": 32, "transcoding": 4, "storage": 12, "ai": 2}
"""Each kind's share of all rows, in thousandths."""
_WEEK = (100, 98, 97, 99, 108, 120, 112)
_BATCH = re.compile(r"sample-(\d{4}-\d\d-\d\d)-(\d{4}-\d\d-\d\d)-\d+-\d+-[a-z]+")
_ORDINALS = """
TRUNCATE ordinals;
INSERT INTO ordinals
SELECT kind, day, place, hash(seed(), kind, day, place)
FROM (
    SELECT kind, day, unnest(range(greatest($first - earlier, 0), least($until - earlier, rows))) AS place
    FROM (SELECT *, (sum(rows) OVER (ORDER BY day, kind) - rows)::BIGINT AS earlier FROM lots)
)
"""

Progress = Callable[[str, int], None]
"""Called with each table that is filled, and the number of its rows."""
RowCounts = Mapping[str, Mapping[date, int]]
"""Numbers of rows by kind and day."""


@dataclass(frozen=True, slots=True)
class SampleResult:
    """The rows of each fact table, and each organization's channels as ids by slug.

    `changed` is false when everything was loaded already.
    """

    rows: Mapping[str, int]
    changed: bool
    organizations: Mapping[str, Mapping[str, str]]


def generate(
    root: Path, start: date, end: date, rows: int, seed: int = 1, progress: Progress | None = None
) -> SampleResult:
    """Load `rows` sample facts of these days, both included, into the tables under `root`.

    `rows` is the total over the fact tables, mostly plays. Repeating the same call finishes what was
    interrupted, or changes nothing. Raises UsageError for an invalid range or number, and when other
    sample facts are loaded for one of the days.
    """
    check_arguments(start, end, rows, seed)
    call = f"sample-{start}-{end}-{rows}-{seed}"
    spread = spread_rows(rows, start, end, seed)
    totals = {
        name: sum(sum(spread[kind].values()) for kind in _list_kinds(name))
        for name, table in TABLES.items()
        if table.is_fact
    }
    with translate_io_errors(root):
        make_folder(root)
    with lock_folder(root):  # a second call waits, and then sees what the first loaded
        _check_days_free(root, start, end, call)
        with closing(open_world(seed, start, end)) as world:
            changed = False
            for name, table in sorted(TABLES.items(), key=lambda named: named[1].is_fact):
                if totals.get(name) == 0:
                    continue
                drawn = draw_facts(world, name, spread) if table.is_fact else [read_objects(world, name)]
                batches = (batch for part in drawn for batch in part.to_batches())
                load = load_arrow(root, name, batches, f"{call}-{name}")
                changed = changed or not load.already
                if progress is not None and table.is_fact and not load.already:
                    progress(name, totals[name])
            return SampleResult(totals, changed, list_channels(world))


def check_arguments(start: date, end: date, rows: int, seed: int) -> None:
    """Raise UsageError with every problem of what `generate` is to make."""
    wrong = {
        f"sample facts begin on {FIRST_DAY} at the earliest, not on {start}": start < FIRST_DAY,
        f"the days are reversed: {start} is after {end}": start > end,
        f"{start} to {end} are more than {MOST_DAYS} days": (end - start).days >= MOST_DAYS,
        f"rows must be from 1 to {MOST_ROWS}, not {rows}": not 1 <= rows <= MOST_ROWS,
        f"the seed must be from 0 to {MOST_SEED}, not {seed}": not 0 <= seed <= MOST_SEED,
    }
    if any(wrong.values()):
        raise UsageError("\n".join(problem for problem, is_so in wrong.items() if is_so))


def _check_days_free(root: Path, start: date, end: date, call: str) -> None:
    """Raise UsageError if another sample has facts on these days: they would hold both."""
    taken = {
        batch
        for table in TABLES.values()
        if table.is_fact
        for batch in active_batches(read_history(read_newest(root, table)))
        if batch != f"{call}-{table.name}"
        and (found := _BATCH.fullmatch(batch))
        and found[1] <= end.isoformat()
        and found[2] >= start.isoformat()
    }
    if taken:
        undo = "\n".join(f"reelport load undo {batch}" for batch in sorted(taken))
        raise UsageError(
            f"sample facts lie on some of these days already: take other days, or first undo them:\n{undo}"
        )


def open_world(seed: int, start: date, end: date) -> duckdb.DuckDBPyConnection:
    """Open an in-memory DuckDB with every object that facts of these days may refer to."""
    world = duckdb.connect(config={"autoload_known_extensions": "false"})
    # The progress bar of a long query would go to stdout, where only data belongs.
    world.execute("SET enable_progress_bar = false")
    world.execute("SET VARIABLE world = $world", {"world": {"seed": seed, "start": start, "end": end}})
    for name in ("world", "videos", "scenes"):
        world.execute(_read_sql(name))
    return world


def read_objects(world: duckdb.DuckDBPyConnection, table: str) -> pa.Table:
    """Read the rows of an object table."""
    return _read_rows(world, f"FROM {table} ORDER BY id", stored_schema(table))


def list_channels(world: duckdb.DuckDBPyConnection) -> dict[str, dict[str, str]]:
    """List each organization's channels, ids by slug."""
    found: dict[str, dict[str, str]] = {}
    sql = "SELECT organization, slug, id FROM channels WHERE organization IS NOT NULL ORDER BY organization, rank"
    for organization, slug, id_ in world.execute(sql).fetchall():
        found.setdefault(organization, {})[slug] = id_
    return found


def spread_rows(rows: int, start: date, end: date, seed: int) -> RowCounts:
    """Spread exactly `rows` rows over kinds and days, with more on weekends.

    Storage grows from day to day, up to all that can be stored; plays get the rows that storage leaves over.
    """
    days = [start + timedelta(days=passed) for passed in range((end - start).days + 1)]
    totals = dict(zip(_SHARES, _split_by_weight(rows, list(_SHARES.values())), strict=True))
    growing = [1000 + (day - FIRST_DAY).days for day in days]
    stored = [min(STORED, share) for share in sorted(_split_by_weight(totals.pop("storage"), growing))]
    totals["plays"] = rows - sum(stored) - sum(total for kind, total in totals.items() if kind != "plays")
    # Sample facts must repeat, not be secret.
    busy = [_WEEK[day.weekday()] * 100 + Random(f"{seed}/{day}").randint(-800, 800) for day in days]  # noqa: S311
    spread = {kind: _split_by_weight(total, busy) for kind, total in totals.items()} | {"storage": stored}
    return {kind: dict(zip(days, numbers, strict=True)) for kind, numbers in spread.items()}


def _split_by_weight(total: int, weights: list[int]) -> list[int]:
    """Split the total by weight into whole numbers that add up to it."""
    ends = [total * reached // sum(weights) for reached in accumulate(weights)]
    return [end - begin for begin, end in zip([0, *ends], ends, strict=False)]


def _list_kinds(table: str) -> tuple[str, ...]:
    return USAGE_KINDS if table == "usage" else (table,)


def draw_facts(
    world: duckdb.DuckDBPyConnection, table: str, counts: RowCounts, portion: int = PORTION
) -> Iterator[pa.Table]:
    """Draw a fact table's rows by days, so many at a time, in no order."""
    lots = [(kind, day, rows) for kind in _list_kinds(table) for day, rows in counts[kind].items()]
    kinds, days, numbers = (list(column) for column in zip(*lots, strict=True))
    world.execute("TRUNCATE lots")
    world.execute("INSERT INTO lots SELECT unnest(?), unnest(?), unnest(?)", [kinds, days, numbers])
    for first in range(0, sum(numbers), portion):
        world.execute(_ORDINALS, {"first": first, "until": first + portion})
        yield _read_rows(world, _read_sql(table), fact_schema(table))


def fact_schema(table: str) -> pa.Schema:
    """The Arrow schema of a fact table without the batch column, which the load adds."""
    return pa.schema([field for field in stored_schema(table) if field.name != BATCH])


def _read_rows(world: duckdb.DuckDBPyConnection, sql: str, schema: pa.Schema) -> pa.Table:
    # SQL gives what the columns are drawn from too; what isn't selected here isn't computed.
    return world.sql(sql).select(*schema.names).to_arrow_table().cast(schema)


def _read_sql(name: str) -> str:
    return resources.files("reelport.facts.sample").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
