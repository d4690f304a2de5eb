"""The stage that sample facts are drawn on: a private engine, repeatable draws, and who watches what, where and when.

A draw is a hash of the seed, the table, the day, the row's place in that day and a
word: the same for any number of threads and in whatever portions rows are made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import duckdb
import pyarrow as pa

from reelport.facts.sample_videos import SHELF, SLOTS, STREAMS, cast_rows, videos
from reelport.facts.sample_world import site_rows

_MACROS = """
-- A number from 0 up to, but not, 1.
CREATE MACRO roll(n, word) AS
    (hash(n, word, getvariable('seed')) >> 11)::DOUBLE / 9007199254740992.0;
-- A whole number from 0 up to, but not, `count`.
CREATE MACRO pick(n, word, count) AS floor(roll(n, word) * count)::BIGINT;
-- A place from 1 to `count`, the second half as likely as the first, and so on: Zipf's law.
CREATE MACRO place(n, word, count) AS least(count, floor(exp(roll(n, word) * ln(count + 1))))::BIGINT;
-- One of a list.
CREATE MACRO one_of(n, word, list) AS list[1 + pick(n, word, len(list))];
CREATE MACRO uploads_on(day) AS CASE WHEN isodow(day) <= 5 THEN 30 ELSE 18 END;
CREATE MACRO millionths(number) AS (number::DECIMAL(18, 0) * 0.000001)::DECIMAL(18, 6);
CREATE MACRO buyers() AS ['open auction', 'Northwind Trading', 'Acme, Ltd.', 'Groupe "Lumière"', 'house ads', '東京ケーブル'];
CREATE MACRO products() AS ['in-stream', 'in-stream', 'in-stream', 'out-stream', NULL];
CREATE MACRO contents() AS ['professional', 'professional', 'community', NULL];
-- Bytes a second as `rate`.
CREATE MACRO renditions() AS [
    {'format': 'h264', 'resolution': '1080', 'fps': '25', 'rate': 562500},
    {'format': 'h264', 'resolution': '720', 'fps': '50', 'rate': 375000},
    {'format': 'hevc', 'resolution': '720', 'fps': '25', 'rate': 200000},
    {'format': 'h264', 'resolution': '480', 'fps': '25', 'rate': 125000},
    {'format': 'h264', 'resolution': '240', 'fps': '25', 'rate': 50000}
];
"""

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
_BROWSER_PAGES = 40

_SCENES = f"""
CREATE TABLE ordinals (day DATE, place BIGINT, n UBIGINT);
CREATE VIEW scenes AS
WITH drawn AS (
    SELECT
        n, day, day - DATE '1970-01-01' AS today,
        roll(n, 'live') < 0.1 AS live,
        roll(n, 'event') < 0.5 AS event,
        roll(n, 'fresh') < 0.45 AS fresh,
        place(n, 'age', 60) - 1 AS age
    FROM ordinals
), chosen AS (
    SELECT *, CASE
        WHEN live AND event THEN today * {SLOTS}
        WHEN live THEN {SHELF} + place(n, 'stream', {len(STREAMS)})
        WHEN fresh AND age = 0 AND roll(n, 'gone') < 0.03 THEN today * {SLOTS} + {SLOTS - 1}
        WHEN fresh AND age > 0 AND roll(n, 'replay') < 0.1 THEN (today - age) * {SLOTS}
        WHEN fresh THEN (today - age) * {SLOTS} + place(n, 'upload', uploads_on(day - age::INTEGER) - 1)
        ELSE place(n, 'shelf', {SHELF})
    END AS number
    FROM drawn
), placed AS (
    SELECT
        chosen.*, casting.* EXCLUDE (number), countries.value AS country, devices.value AS device, hours.value AS hour,
        number >= today * {SLOTS} AS of_today,
        CASE
            WHEN devices.value = 'tv' OR roll(n, 'site') < 0.35 THEN 0
            WHEN roll(n, 'site') < 0.7 THEN own_site
            ELSE place(n, 'elsewhere', (SELECT count(*) FROM sites) - 1)
        END AS site
    FROM chosen
    JOIN casting USING (number)
    JOIN weighted AS countries ON countries.name = 'country' AND countries.slot = pick(n, 'country', 1000)
    JOIN weighted AS devices ON devices.name = 'device' AND devices.slot = pick(n, 'device', 1000)
    JOIN weighted AS hours ON hours.name = 'hour' AND hours.slot = pick(n, 'hour', 1000)
), hosted AS (
    SELECT
        *,
        CASE
            WHEN live AND event THEN 18 + pick(n, 'evening', 4)
            WHEN of_today THEN first_hour + hour::BIGINT % (last_hour - first_hour)
            ELSE hour::BIGINT
        END AS at_hour,
        CASE
            WHEN site > 0 THEN one_of(n, 'host', hosts)
            ELSE hosts[CASE device WHEN 'tv' THEN 3 WHEN 'mobile' THEN 2 ELSE 1 END]
        END AS host,
        CASE WHEN roll(n, 'playlist') < 0.2 THEN one_of(n, 'list', playlists) END AS playlist_id
    FROM placed
    JOIN sites USING (site)
)
SELECT
    n, day, number, live, at_hour, duration,
    day + to_hours(at_hour) AS started_at,
    video_id, owner_channel_id, publisher_channel_id, claimer_channel_id,
    CASE WHEN live THEN 'live' ELSE 'video' END AS media_type,
    playlist_id,
    CASE
        WHEN playlist_id IS NOT NULL THEN place(n, 'position', 25)
        WHEN roll(n, 'sequence') < 0.5 THEN place(n, 'position', 4)
    END AS video_position,
    one_of(n, 'player', players) AS player_id,
    country AS visitor_country,
    device AS visitor_device_type,
    domain_group AS visitor_domain_group,
    host AS visitor_subdomain,
    CASE
        WHEN device = 'tv' THEN NULL
        WHEN site = 0 THEN 'https://' || host || '/video/' || video_id
        ELSE 'https://' || host || '/' || one_of(n, 'section', ['story', 'watch', 'home'])
            || '/' || place(n, 'page', {_BROWSER_PAGES})
    END AS visitor_page_url,
    CASE
        WHEN roll(n, 'unsold') < 0.1 THEN NULL
        WHEN claimer_channel_id IS NOT NULL THEN 'claim'
        WHEN publisher_channel_id IS NOT NULL AND publisher_channel_id <> owner_channel_id THEN 'website_monetization'
        ELSE 'video_monetization'
    END AS monetization_type
FROM hosted
"""

_ORDINALS = """
INSERT INTO ordinals
SELECT day, place, hash(getvariable('seed'), $table, day, place)
FROM (SELECT day, unnest(range(first, first + rows)) AS place FROM lots)
"""


@dataclass(frozen=True, slots=True)
class Lot:
    """Rows of one day: how many, and which number the first one has in that day."""

    day: date
    first: int
    rows: int


class Stage:
    """An engine in memory with the sample world in it; rows are drawn lot by lot. Close it when done."""

    def __init__(self, seed: int, start: date, end: date, threads: int | None = None) -> None:
        self._engine = duckdb.connect(config={"threads": threads} if threads else {})
        self._engine.execute("SET VARIABLE seed = $seed::BIGINT", {"seed": seed})
        self._engine.execute(_MACROS)
        self._keep("casting", cast_rows(videos(seed, start, end)))
        self._keep("sites", site_rows())
        self._keep("weighted", _weighted(country=_COUNTRIES, device=_DEVICES, hour=_HOURS, action=_ACTIONS))
        self._engine.execute(_SCENES)

    def draw(self, sql: str, table: str, lots: Sequence[Lot]) -> pa.Table:
        """The rows that `sql` makes of the scenes of these lots; the same rows whenever and wherever it is asked."""
        days = pa.table(
            {
                "day": pa.array([lot.day for lot in lots], pa.date32()),
                "first": pa.array([lot.first for lot in lots], pa.int64()),
                "rows": pa.array([lot.rows for lot in lots], pa.int64()),
            }
        )
        self._keep("lots", days)
        self._engine.execute("TRUNCATE ordinals")
        self._engine.execute(_ORDINALS, {"table": table})
        return self._engine.sql(sql).to_arrow_table()

    def close(self) -> None:
        """End the engine."""
        self._engine.close()

    def _keep(self, name: str, rows: pa.Table) -> None:
        self._engine.register("incoming", rows)
        self._engine.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT * FROM incoming")  # noqa: S608 - our names
        self._engine.unregister("incoming")


def _weighted(**choices: str) -> pa.Table:
    """A thousand slots for each name, filled by weight; `-` is an empty cell."""
    names, slots, values = [], [], []
    for name, words in choices.items():
        pairs = [(value, int(weight)) for value, weight in (word.rsplit(":", 1) for word in words.split())]
        spread = [None if value == "-" else value for value, weight in pairs for _ in range(weight)]
        for slot in range(1000):
            names.append(name)
            slots.append(slot)
            values.append(spread[slot * len(spread) // 1000])
    return pa.table({"name": names, "slot": pa.array(slots, pa.int64()), "value": pa.array(values, pa.string())})
