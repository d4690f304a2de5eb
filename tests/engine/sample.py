"""The fixed facts: a few hundred rows full of ties, empty cells, odd texts and every role, the same in every run."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from reelport.facts.allowed_values import USAGE_KINDS
from reelport.facts.tables import TABLES, Column, Kind

from .world import Tables

FIRST, LAST = date(2023, 6, 24), date(2023, 7, 7)
"""Days of the facts."""
START, END = date(2023, 6, 28), date(2023, 7, 3)
"""Days that are asked for: two months, with facts on both sides."""
MINE = frozenset({"c-news", "c-sport", "c-old", "c-gone"})
"""The reader's channels: two of one slug, and one that no channel row describes."""

CHANNELS = ("c-news", "c-sport", "c-old", "c-gone", "c-rival", "c-other")
_VIDEOS = tuple(f"x{number}" for number in range(10))
_TEXTS = {
    "video_id": (*_VIDEOS, "x-gone"),
    "playlist_id": ("l1", "l2", "l-gone"),
    "player_id": ("p1", "p2", "p-gone"),
    "visitor_country": ("FR", "DE", "JP"),
    "visitor_device_type": ("mobile", "desktop", "tv"),
    "visitor_domain_group": ("dailymotion", "news group", "été, «fête»"),
    "visitor_subdomain": ("www.example.com", "m.example.com"),
    "visitor_page_url": ("https://example.com/?a=1,2", 'https://example.com/"q"', "https://example.com/\u202eيوم"),
    "viewer": tuple(f"viewer {number}" for number in range(12)),
    "action": ("autoplay", "click"),
    "player_size": ("640x360", "320x180"),
    "rendition_fps": ("25", "60"),
}


_EMPTY = {"payee_channel_id": 0.7}
"""Share of rows that leave a column empty, where it is not a quarter: most payees are told by the kind of money."""


def tables(seed: int = 20230701) -> Tables:
    """Every table's rows; one seed, one world."""
    pick = random.Random(seed)  # noqa: S311 - facts that are the same in every run
    return {
        "channels": [
            {"id": "c-news", "slug": "demo-news", "name": "News", "account_id": "a-demo"},
            {"id": "c-old", "slug": "demo-news", "name": "Old news", "account_id": "a-orphan"},
            {"id": "c-sport", "slug": "demo-sport", "account_id": "a-demo"},
            {"id": "c-rival", "slug": "rival", "account_id": "a-rival"},
            {"id": "c-other", "slug": "other"},
        ],
        "accounts": [
            {"id": "a-demo", "username": "demo", "parent_account_id": "a-group"},
            {"id": "a-group", "username": "group"},
            {"id": "a-rival", "username": "rival"},
            {"id": "a-orphan", "username": "orphan", "parent_account_id": "a-lost"},
        ],
        "players": [{"id": "p1", "title": "Home, page", "type": "web"}, {"id": "p2"}],
        "playlists": [{"id": "l1", "title": "Best of", "type": "manual"}, {"id": "l2", "title": "Best of"}],
        "videos": [_video(number, pick) for number in range(len(_VIDEOS))],
        "plays": _facts("plays", 700, pick),
        "ads": _facts("ads", 500, pick),
        "earnings": _facts("earnings", 500, pick),
        "usage": [row for kind in USAGE_KINDS for row in _facts("usage", 200, pick, kind)],
    }


_TITLES = ("Same", "Same", "comma, here", 'a "quote"', "two\nlines", "é😀", "مرحبا", None, " blank ", "NULL")
_TAGS: tuple[list[str] | None, ...] = (["a"], ["b", "a"], None, ["c|d", "é\\"], None, ["z", "y", "x"])


def _video(number: int, pick: random.Random) -> dict[str, object]:
    return {
        "id": _VIDEOS[number],
        "title": _TITLES[number],
        "owner_channel_id": pick.choice(CHANNELS),
        "duration_seconds": pick.choice((None, 10, 60)),
        "tags": _TAGS[number % len(_TAGS)],
        "visibility": pick.choice(("public", "private", None)),
        "created_at": None if number == 0 else _moment(pick),
        "deleted_at": _moment(pick) if number % 3 == 0 else None,
    }


def _facts(table: str, rows: int, pick: random.Random, kind: str = "") -> Sequence[dict[str, object]]:
    columns = [column for column in TABLES[table].columns if not kind or _tells(kind, column)]
    return [
        {column.name: kind if column.name == "kind" else _value(column, pick) for column in columns}
        for _ in range(rows)
    ]


def _tells(kind: str, column: Column) -> bool:
    """Whether a usage row of the kind has the column: the counts that are so named, and all that is no count."""
    return column.kind is not Kind.COUNT or column.name.startswith(f"{kind}_")


def _value(column: Column, pick: random.Random) -> object:
    if not column.required and column.default is None and pick.random() < _EMPTY.get(column.name, 0.25):
        return None
    match column.kind:
        case Kind.DAY:
            return FIRST + timedelta(days=pick.randrange((LAST - FIRST).days + 1))
        case Kind.MOMENT:
            return _moment(pick)
        case Kind.MONEY:
            return Decimal(pick.randrange(-2_000_000, 9_000_000)).scaleb(-6)
        case Kind.COUNT:
            return pick.choice((0, 1, 2, 3, 7, 12))
        case _:
            return pick.choice(_TEXTS.get(column.name) or column.choices or _texts(column.name))


def _texts(column: str) -> tuple[str, ...]:
    return CHANNELS if column.endswith("_channel_id") else _TEXTS.get(column, ("one", "two", "Three"))


def _moment(pick: random.Random) -> datetime:
    """Any second of the days, and often the first or the last of one."""
    start = datetime.combine(FIRST, datetime.min.time(), UTC)
    day = timedelta(days=pick.randrange((LAST - FIRST).days + 1))
    return start + day + timedelta(seconds=pick.choice((0, 86_399, pick.randrange(86_400))))
