"""Rows for the fewest facts that show what a report means, and who reads them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal

from .world import Rows

Row = dict[str, object]
Ask = Callable[..., Rows]

ME = frozenset({"c1", "c2"})
"""The reader's channels; `c9` is somebody else's."""
CHANNELS: list[Row] = [{"id": f"c{number}", "slug": f"slug{number}"} for number in (1, 2, 9)]


def play(at: str = "2023-07-01T05:04:03", views: int = 1, **more: object) -> Row:
    moment = datetime.fromisoformat(at).replace(tzinfo=UTC)
    row: Row = {"started_at": moment, "video_id": "x1", "owner_channel_id": "c1", "media_type": "video", "views": views}
    return {**row, "time_watched_seconds": 0, **more}


def stored(day: str, size: int | None, **more: object) -> Row:
    row: Row = {"day": date.fromisoformat(day), "kind": "storage", "owner_channel_id": "c1", "storage_bytes": size}
    return row | more


def video(name: str, title: str | None = None, **more: object) -> Row:
    return {"id": name, "title": title, "owner_channel_id": "c1", **more}


def earned(eur: str, **more: object) -> Row:
    row: Row = {"day": date(2023, 7, 1), "owner_channel_id": "c1", "eur": Decimal(eur), "usd": Decimal(0)}
    return row | more
