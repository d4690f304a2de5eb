"""Plays and earnings to load, where a test needs some and not just which."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date, datetime

import pyarrow as pa

from reelport.facts.log.role_copies import LEAST_ROWS


def make_play(at: datetime | str, views: int = 1, **more: object) -> dict[str, object]:
    """A play of a second: of the video `v1`, by the channel `c1`, unless `more` says otherwise."""
    same = {"video_id": "v1", "owner_channel_id": "c1", "media_type": "video", "time_watched_seconds": 1}
    return {"started_at": at, **same, "views": views, **more}


def make_plays(rows: Iterable[tuple[datetime | str, int]], **more: object) -> pa.Table:
    """Such plays, by their moments and views."""
    return pa.Table.from_pylist([make_play(at, views, **more) for at, views in rows])


def make_shown_plays(at: datetime | str, counts: Iterable[int] | None = None) -> pa.Table:
    """As many plays as a file has that is copied by role: the channel `c1` shows videos of `c9`, once if no more."""
    same = make_play(at, owner_channel_id="c9", publisher_channel_id="c1")
    columns = {name: pa.repeat(pa.scalar(value), LEAST_ROWS) for name, value in same.items()}
    if counts is not None:
        columns |= dict.fromkeys(("views", "time_watched_seconds"), pa.array(counts))
    return pa.table(columns)


def make_earnings(days: Collection[date]) -> pa.Table:
    """A euro and a dollar of the video `v1` by the channel `c1` on each of these days."""
    money = pa.array([1] * len(days), pa.decimal128(18, 6))
    same = {"owner_channel_id": ["c1"] * len(days), "video_id": ["v1"] * len(days)}
    return pa.table({"day": list(days), **same, "eur": money, "usd": money})
