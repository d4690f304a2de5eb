"""The videos of the sample world: old ones, endless streams, daily uploads.

Some titles are awkward.

A video depends only on the seed and its number. The number of an upload contains its
day, so every range of days has the same uploads, and a second range only adds some.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from random import Random

import pyarrow as pa

from reelport.facts.sample.world import CHANNELS, PLAYLIST_TYPES, SITES, SampleChannel, playlist_id, short_id
from reelport.facts.schema import stored_schema

FIRST_DAY = date(2020, 1, 1)
"""The earliest day of sample facts; all videos on the shelf are older."""

SHELF = 4000
STREAMS = range(SHELF + 1, SHELF + 13)
RETIRED = range(SHELF + 13, SHELF + 101)
SLOTS = 64
"""Numbers that one day's uploads may have; the last one is deleted the same evening."""
UPLOADS = 30
WEEKEND_UPLOADS = 18

EVENT = 0
"""The slot of each day's upload that is streamed live in the evening and kept as a video."""

MEMORY = timedelta(days=60)
"""How long an upload is watched."""

_EPOCH = date(1970, 1, 1)
_STREAM_OWNERS = ("demo-live", "rival-news", "demo-live", "demo-news", "hakol", "demo-live", "rival-sports", "tarfih")
_EVENT_OWNERS = ("demo-live", "demo-live", "demo-sports", "rival-sports", "rival-news", "kino-klub")
_CLAIMERS = ("demo-news", "demo-news", "demo-sports", "rival-news", "rival-music", "kino-klub")
_BY_SLUG = {channel.slug: channel for channel in CHANNELS}
_OWN_SITE = {site.channel: number for number, site in enumerate(SITES) if site.channel}


@dataclass(frozen=True, slots=True)
class _Theme:
    """The words for titles and tags of one kind of channel."""

    subjects: tuple[str, ...]
    tails: tuple[str, ...]
    marks: tuple[str, ...]
    tags: tuple[str, ...]


_THEMES: Mapping[str, _Theme] = {
    "news": _Theme(
        ("The harbour strike", "Council budget", "A night at the ministry", "Rent, bread and fuel", "The flood map"),
        ("what we know so far", "explained in three minutes", "the mayor answers", "a witness speaks", "day by day"),
        ("🗞️", "📉", "🗳️", "🌍"),
        ("news", "politics", "economy", "city", "explained", "breaking news"),
    ),
    "sports": _Theme(
        ("Cup final", "Derby day", "Women's relay", "Under-19 trials", "The long jump record"),
        ("all the goals", "the last two minutes", "from the touchline", "in slow motion", "and what it means"),
        ("⚽", "🏀", "🥇", "🥅"),
        ("sports", "football", "highlights", "athletics", "interview"),
    ),
    "live": _Theme(
        ("Council chamber", "Election night", "Press conference", "Charity concert", "Harbour camera"),
        ("as it happens", "with a second camera", "and your questions", "from the studio"),
        ("🔴", "🎙️", "📡"),
        ("live", "event", "press"),
    ),
    "music": _Theme(
        ("Acoustic session", "Brass on the roof", "Fado no cais", "One-take choir", "Vinyl hour"),
        ("ao vivo", "the B-side", "with strings", "first take"),
        ("🎶", "🎷", "🥁"),
        ("music", "música", "session", "concert"),
    ),
    "food": _Theme(
        ("Onion soup", "Rye bread", "Crème brûlée", "Lentils, again", "A pie for eight"),
        ("in one pot", "without an oven", "the cheap way", "step by step"),
        ("🍲", "🥖", "🧅"),
        ("food", "recipe", "vegetarian", "crème"),
    ),
    "film": _Theme(
        ("Němý film", "Zítra ráno", "Matinee", "The projectionist", "Krátký film"),
        ("upoutávka", "first five minutes", "rozhovor s režisérkou", "a scene, frame by frame"),
        ("🎬", "🎞️", "🍿"),
        ("film", "trailer", "krátký film", "rozhovor"),
    ),
    "hebrew": _Theme(
        ("החדשות של הבוקר", "בישול ביתי", "טיול בצפון", "שיחה על ספרים"),
        ("חלק ראשון", "עם אורחים", "מה שחשוב לדעת"),
        ("🌊", "📚", "🫒"),
        ("חדשות", "טיולים", "ספרים"),
    ),
    "arabic": _Theme(
        ("أخبار اليوم", "مطبخ البيت", "رحلة إلى الجبل", "حوار المساء"),
        ("الجزء الأول", "مع ضيوفنا", "كل ما يجب معرفته"),
        ("🌙", "☕", "🏔️"),
        ("أخبار", "سفر", "مطبخ"),
    ),
    "cars": _Theme(
        ("Twelve-year-old hatchback", "Winter tyres", "The 4x4 test", "Electric van"),
        ("0-100, measured", 'is it "silent"?', "after 200,000 km", "what broke"),
        ("🚗", "🔧", "⚡"),
        ("cars", "test", "electric", "\"><img src=x onerror=alert('repair')>"),
    ),
}

PLANTED: Mapping[int, tuple[str, str | None]] = {
    1: ("demo-news", 'Tonight, live from the harbour: "we will not move", they say'),
    2: ("demo-sports", "Weekly highlights"),
    3: ("demo-news", "Weekly highlights"),
    4: ("rival-news", "Weekly highlights"),
    5: ("demo-news", "أخبار اليوم: ما الذي حدث في الميناء؟"),
    6: ("rival-sports", "Goal! 3-2, then 4-2 🥅🔥"),
    7: ("demo-news", "Morning brief\nfrom the harbour"),
    8: ("kitchen-table", "Crème brûlée, the cheap way 🍮"),
    9: ("demo-sports", "👩‍👩‍👧‍👦 Family run: 5 km, 12 °C, rain</title><script>alert('rain')</script>"),
    10: ("rival-news", '"Quoted" at the start, a comma at the end,'),
    11: ("demo-news", "=SUM(votes) and other spreadsheets of power"),
    12: ("demo-live", None),
    13: ("hakol", "מזג האוויר, היום ומחר"),
    14: ("demo-news", '<b onclick="alert(1)">The word """truth"""</b>'),
}
"""Owner and title of the most watched videos: each title is hard to write in its own way, in a CSV or
on a page, and three are the same."""

CLAIMED: Mapping[int, str] = {3: "rival-news", 4: "demo-news", 6: "demo-sports", 8: "demo-news"}
"""The channels that claim some of the most watched videos."""

_PATTERNS = (
    "{subject}: {tail}",
    "{subject}, {tail}",
    '{subject}: "{tail}"',
    "{subject} {mark}",
    "{mark} {subject} | {tail}",
    "{subject} #{part}: {tail}",
    "{subject} ({tail}), part {part}",
    "{subject}, {tail} (no. {part})",
    "{tail} {mark} {subject}, day {part}",
)


@dataclass(frozen=True, slots=True)
class Video:
    """One video of the sample world; facts are drawn from its number and its claimer."""

    number: int
    id: str
    title: str | None
    owner: SampleChannel
    claimer: SampleChannel | None
    duration: int | None
    tags: list[str]
    visibility: str
    created: datetime
    deleted: datetime | None = None


def count_uploads(day: date) -> int:
    """Count the uploads of the day that aren't deleted; there are fewer on a weekend."""
    return UPLOADS if day.isoweekday() <= 5 else WEEKEND_UPLOADS  # noqa: PLR2004 - Monday to Friday


def make_videos(seed: int, start: date, end: date) -> Iterator[Video]:
    """Make every video that facts from `start` to `end` may refer to, each with its own number."""
    dice = Random(f"{seed}/ids")  # noqa: S311 - sample facts must repeat, not be secret
    shift = dice.randrange(36**7)
    for number in range(1, RETIRED.stop):
        yield _make_old_video(number, seed, shift)
    day = start - MEMORY
    while day <= end:
        for slot in (*range(count_uploads(day)), SLOTS - 1):
            yield _make_upload(day, slot, seed, shift)
        day += timedelta(days=1)


def video_rows(found: Iterable[Video]) -> pa.Table:
    """Convert the videos to rows of the table `videos`."""
    return pa.Table.from_pylist(
        [
            {
                "id": video.id,
                "title": video.title,
                "owner_channel_id": video.owner.id,
                "duration_seconds": video.duration,
                "tags": video.tags,
                "visibility": video.visibility,
                "created_at": video.created,
                "deleted_at": video.deleted,
            }
            for video in found
        ],
        stored_schema("videos"),
    )


def cast_rows(found: Iterable[Video]) -> pa.Table:
    """Convert the videos to the rows that facts are drawn from."""
    return pa.Table.from_pylist(
        [
            {
                "number": video.number,
                "video_id": video.id,
                "owner_channel_id": video.owner.id,
                "claimer_channel_id": video.claimer and video.claimer.id,
                "duration": video.duration,
                "first_hour": video.created.hour + 1,
                "last_hour": video.deleted.hour if video.deleted else 24,
                "own_site": _OWN_SITE.get(video.owner.slug, 0),
                "playlists": [playlist_id(video.owner.slug, kind) for kind in PLAYLIST_TYPES],
            }
            for video in found
        ]
    )


def _make_old_video(number: int, seed: int, shift: int) -> Video:
    dice = Random(f"{seed}/{number}")  # noqa: S311 - sample facts must repeat, not be secret
    created = datetime(2015, 1, 1, tzinfo=UTC) + timedelta(minutes=dice.randrange(5 * 365 * 24 * 60))
    deleted = None
    if number in STREAMS:
        owner = _BY_SLUG[_STREAM_OWNERS[number % len(_STREAM_OWNERS)]]
        duration = None
    else:
        owner = _BY_SLUG[PLANTED[number][0]] if number in PLANTED else _draw_owner(dice)
        duration = _draw_duration(dice)
    if number in RETIRED:
        deleted = min(created + timedelta(days=dice.randint(1, 400)), datetime(2019, 12, 31, tzinfo=UTC))
        created = min(created, deleted)
    name = PLANTED[number][1] if number in PLANTED else _draw_title(owner.theme, dice)
    claimer = _BY_SLUG[CLAIMED[number]] if number in CLAIMED else _draw_claimer(owner, dice)
    visibility = "public" if number in PLANTED else _draw_visibility(dice)
    tags = _draw_tags(owner.theme, dice)
    video_id = _video_id(number, shift)
    return Video(number, video_id, name, owner, claimer, duration, tags, visibility, created, deleted)


def _make_upload(day: date, slot: int, seed: int, shift: int) -> Video:
    number = (day - _EPOCH).days * SLOTS + slot
    dice = Random(f"{seed}/{number}")  # noqa: S311 - sample facts must repeat, not be secret
    owner = _BY_SLUG[dice.choice(_EVENT_OWNERS)] if slot == EVENT else _draw_owner(dice)
    hour = 17 if slot == EVENT else dice.randint(4, 6) if slot == SLOTS - 1 else dice.randint(3, 15)
    created = datetime.combine(day, time(hour, dice.randrange(60), dice.randrange(60)), UTC)
    deleted = created.replace(hour=20) if slot == SLOTS - 1 else None
    duration, claimer = _draw_duration(dice), _draw_claimer(owner, dice)
    name, tags, visibility = _draw_title(owner.theme, dice), _draw_tags(owner.theme, dice), _draw_visibility(dice)
    video_id = _video_id(number, shift)
    return Video(number, video_id, name, owner, claimer, duration, tags, visibility, created, deleted)


def _video_id(number: int, shift: int) -> str:
    # The factor has no common divisor with 36 to the 7th, so no two numbers give the same id.
    return short_id((number * 29_996_224_275_833 + shift) % 36**7)


def _draw_owner(dice: Random) -> SampleChannel:
    return dice.choices(CHANNELS, [channel.share for channel in CHANNELS])[0]


def _draw_claimer(owner: SampleChannel, dice: Random) -> SampleChannel | None:
    claimer = _BY_SLUG[dice.choice(_CLAIMERS)]
    claimed = dice.random() < 0.08 and (owner.organization is None or owner.organization != claimer.organization)  # noqa: PLR2004 - one in twelve
    return claimer if claimed and claimer != owner else None


def _draw_duration(dice: Random) -> int | None:
    # A few have no duration; the others take from twenty seconds to an hour, and most are short.
    return None if dice.random() < 0.02 else int(20 * 180 ** dice.random())  # noqa: PLR2004 - one in fifty


def _draw_visibility(dice: Random) -> str:
    return dice.choices(("public", "private", "password"), (92, 5, 3))[0]


def _draw_title(theme: str, dice: Random) -> str:
    words = _THEMES[theme]
    return dice.choice(_PATTERNS).format(
        subject=dice.choice(words.subjects),
        tail=dice.choice(words.tails),
        mark=dice.choice(words.marks),
        part=dice.randint(1, 400),
    )


def _draw_tags(theme: str, dice: Random) -> list[str]:
    """Draw tags of the theme: none for a fifth, else one to all, in random order."""
    words = _THEMES[theme].tags
    return [] if dice.random() < 0.2 else dice.sample(words, dice.randint(1, len(words)))  # noqa: PLR2004 - a fifth
