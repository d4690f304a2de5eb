"""Draw sample facts with an in-memory DuckDB: who watches what, where and when.

A draw is a hash of the seed, the table, the day, the row's number in that day and a
word. So it is the same for any number of threads and any size of portions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib import resources

import duckdb
import pyarrow as pa

from reelport.facts.sample.videos import SHELF, SLOTS, STREAMS, UPLOADS, WEEKEND_UPLOADS, Video, cast_rows
from reelport.facts.sample.world import site_rows

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
SELECT day, place, hash(seed(), $kind, day, place)
FROM (SELECT day, unnest(range(first, first + rows)) AS place FROM lots)
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
"""The kinds of rows and the table of each; the SQL file of the same name draws them."""


@dataclass(frozen=True, slots=True)
class Lot:
    """A number of rows of one day, and the number of the first of them in that day."""

    day: date
    first: int
    rows: int


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

    def draw(self, kind: str, lots: Sequence[Lot]) -> pa.Table:
        """Draw the rows of a kind for these lots; the same lot always gives the same rows.

        The rows have the columns that the kind fills, times without a zone, and no order.
        """
        days = pa.table(
            {
                "day": pa.array([lot.day for lot in lots], pa.date32()),
                "first": pa.array([lot.first for lot in lots], pa.int64()),
                "rows": pa.array([lot.rows for lot in lots], pa.int64()),
            }
        )
        self._store("lots", days)
        self._engine.execute("TRUNCATE ordinals")
        self._engine.execute(_ORDINALS, {"kind": kind})
        return self._engine.sql(_read_sql(kind)).to_arrow_table()

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
