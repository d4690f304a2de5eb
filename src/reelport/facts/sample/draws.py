"""Draw sample facts: spread their number over kinds and days, then draw rows by DuckDB.

A draw is a hash of the seed, the table, the day, the row's number in that day and a
word. So it is the same for any number of threads and any size of portions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from importlib import resources
from itertools import accumulate
from random import Random

import duckdb
import pyarrow as pa

from reelport.facts.sample.videos import (
    FIRST_DAY,
    SHELF,
    SLOTS,
    STREAMS,
    UPLOADS,
    WEEKEND_UPLOADS,
    Video,
    cast_rows,
    video_rows,
)
from reelport.facts.sample.world import make_world_tables, site_rows
from reelport.facts.schema import BATCH, stored_schema

_COUNTRIES = (
    "FR:180 US:140 DE:80 GB:70 IN:60 JP:55 BR:45 ES:42 IT:40 CA:36 MX:30 TR:28 PL:24 NL:22 BE:20 KR:18 CH:14 AU:14 "
    "SE:10 ZA:8 MA:8 IL:8 EG:7 CZ:7 AT:6 PT:6 TN:4 NO:4 DK:3 FI:3 GR:3 NZ:2 IS:1 -:2"
)
_DEVICES = "mobile:560 desktop:280 tv:90 tablet:62 -:8"
_HOURS = (
    "0:22 1:14 2:9 3:7 4:7 5:12 6:22 7:34 8:42 9:44 10:46 11:50 12:58 13:56 14:48 15:46 16:50 17:58 18:68 19:78 "
    "20:84 21:76 22:54 23:35"
)
_ACTIONS = "click:500 autoplay:260 autonext:150 scroll:70 -:20"
_ORDINALS = """
INSERT INTO ordinals
SELECT kind, day, place, hash(seed(), kind, day, place)
FROM (SELECT kind, day, unnest(range(first, first + rows)) AS place FROM lots)
"""


KINDS: Mapping[str, str] = {
    "plays": "plays",
    "ads": "ads",
    "earnings": "earnings",
    "bandwidth": "usage",
    "transcoding": "usage",
    "storage": "usage",
    "ai": "usage",
}
"""The kinds of rows and the table of each; the SQL file of the table's name draws them."""


PORTION = 400_000
"""The most rows that are drawn, and held in memory, at a time."""

SHARES: Mapping[str, int] = {
    "plays": 700,
    "ads": 180,
    "earnings": 70,
    "bandwidth": 32,
    "transcoding": 4,
    "storage": 12,
    "ai": 2,
}
"""Each kind's share of all rows, in thousandths."""

RENDITIONS = 5
STORED = SHELF * RENDITIONS
"""The most rows of storage in one day: every rendition of every video on the shelf."""

_WEEK = (100, 98, 97, 99, 108, 120, 112)

RowCounts = Mapping[str, Mapping[date, int]]
"""Numbers of rows by kind and day."""


@dataclass(frozen=True, slots=True)
class Lot:
    """A number of rows of one kind and day, and the number of the first of them in that day."""

    kind: str
    day: date
    first: int
    rows: int


def spread_rows(rows: int, start: date, end: date, seed: int) -> RowCounts:
    """Spread exactly `rows` rows over kinds and days, with more on weekends.

    Storage grows from day to day, up to all that can be stored; plays get the rows that storage leaves over.
    """
    days = [start + timedelta(days=passed) for passed in range((end - start).days + 1)]
    totals = dict(zip(SHARES, _split_by_weight(rows, list(SHARES.values())), strict=True))
    growing = [1000 + (day - FIRST_DAY).days for day in days]
    stored = [min(STORED, share) for share in sorted(_split_by_weight(totals.pop("storage"), growing))]
    totals["plays"] = rows - sum(stored) - sum(total for kind, total in totals.items() if kind != "plays")
    busy = [_WEEK[day.weekday()] * 100 + _noise(day, seed) for day in days]
    spread = {kind: _split_by_weight(total, busy) for kind, total in totals.items()} | {"storage": stored}
    return {kind: dict(zip(days, numbers, strict=True)) for kind, numbers in spread.items()}


def _split_into_portions(table: str, found: RowCounts) -> Iterator[list[Lot]]:
    """Yield a table's lots in order of days, in portions of `PORTION` rows."""
    kinds = [kind for kind, of_table in KINDS.items() if of_table == table]
    portion: list[Lot] = []
    filled = 0
    for day in found[kinds[0]]:
        for lot in (lot for kind in kinds for lot in _split_day(kind, day, found[kind][day])):
            if filled and filled + lot.rows > PORTION:
                yield portion
                portion, filled = [], 0
            portion.append(lot)
            filled += lot.rows
    if filled:
        yield portion


def _split_day(kind: str, day: date, rows: int) -> Iterator[Lot]:
    for first in range(0, rows, PORTION):
        yield Lot(kind, day, first, min(PORTION, rows - first))


def _split_by_weight(total: int, weights: list[int]) -> list[int]:
    """Split the total by weight into whole numbers that add up to it."""
    ends = [total * reached // sum(weights) for reached in accumulate(weights)]
    return [end - begin for begin, end in zip([0, *ends], ends, strict=False)]


def _noise(day: date, seed: int) -> int:
    return Random(f"{seed}/{day}").randint(-800, 800)  # noqa: S311 - sample facts must repeat, not be secret


def make_object_tables(cast: Sequence[Video]) -> Mapping[str, pa.Table]:
    """Make the object tables by name: all objects that facts about these videos refer to."""
    return make_world_tables() | {"videos": video_rows(cast)}


def draw_fact_portions(table: str, stage: SampleEngine, counts: RowCounts) -> Iterator[pa.Table]:
    """Draw the rows of a fact table by days, one portion at a time; other columns are empty."""
    schema = fact_schema(table)
    for portion in _split_into_portions(table, counts):
        rows = stage.draw(table, portion)
        columns = [
            rows[field.name].cast(field.type) if field.name in rows.column_names else pa.nulls(len(rows), field.type)
            for field in schema
        ]
        yield pa.table(columns, schema=schema)


def fact_schema(table: str) -> pa.Schema:
    """The Arrow schema of a fact table without the batch column, which the load adds."""
    return pa.schema([field for field in stored_schema(table) if field.name != BATCH])


class SampleEngine:
    """An in-memory DuckDB that holds the sample world and draws rows. Close it when done."""

    def __init__(self, seed: int, cast: Iterable[Video], threads: int | None = None) -> None:
        self._engine = duckdb.connect(config={"autoload_known_extensions": "false"})
        # The progress bar of a long query would go to stdout, where only data belongs.
        self._engine.execute("SET enable_progress_bar = false")
        if threads is not None:
            self._engine.execute("SET threads = $threads", {"threads": threads})
        world = {
            "seed": seed,
            "shelf": SHELF,
            "streams": len(STREAMS),
            "slots": SLOTS,
            "uploads": UPLOADS,
            "weekend_uploads": WEEKEND_UPLOADS,
        }
        self._engine.execute("SET VARIABLE world = $world", {"world": world})
        self._engine.execute(_read_sql("macros"))
        self._store("casting", cast_rows(cast))
        self._store("sites", site_rows())
        self._store("weighted", _weighted_slots(country=_COUNTRIES, device=_DEVICES, hour=_HOURS, action=_ACTIONS))
        self._engine.execute(_read_sql("scenes"))

    def draw(self, table: str, lots: Sequence[Lot]) -> pa.Table:
        """Draw the rows of a table for these lots; the same lot always gives the same rows.

        The rows have the columns that the table's SQL fills, times without a zone, and no order.
        """
        schema = pa.schema([("kind", pa.string()), ("day", pa.date32()), ("first", pa.int64()), ("rows", pa.int64())])
        self._store("lots", pa.Table.from_pylist([asdict(lot) for lot in lots], schema))
        self._engine.execute("TRUNCATE ordinals")
        self._engine.execute(_ORDINALS)
        return self._engine.sql(_read_sql(table)).to_arrow_table()

    def close(self) -> None:
        """Close the DuckDB connection."""
        self._engine.close()

    def _store(self, name: str, rows: pa.Table) -> None:
        self._engine.register("incoming", rows)
        self._engine.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT * FROM incoming")  # noqa: S608 - our names
        self._engine.unregister("incoming")


def _weighted_slots(**choices: str) -> pa.Table:
    """Make a table with a thousand slots for each name, filled by weight; `-` is an empty cell."""
    names, slots, values = [], [], []
    for name, words in choices.items():
        pairs = [(value, int(weight)) for value, weight in (word.rsplit(":", 1) for word in words.split())]
        spread = [None if value == "-" else value for value, weight in pairs for _ in range(weight)]
        for slot in range(1000):
            names.append(name)
            slots.append(slot)
            values.append(spread[slot * len(spread) // 1000])
    return pa.table({"name": names, "slot": pa.array(slots, pa.int64()), "value": pa.array(values, pa.string())})


def _read_sql(name: str) -> str:
    return resources.files("reelport.facts.sample").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
