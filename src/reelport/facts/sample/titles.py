"""Titles and tags of sample videos: ordinary ones, and some hard to write as CSV."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Theme:
    """The words for titles and tags of one kind of channel."""

    subjects: tuple[str, ...]
    tails: tuple[str, ...]
    marks: tuple[str, ...]
    tags: tuple[str, ...]


THEMES: Mapping[str, Theme] = {
    "news": Theme(
        ("The harbour strike", "Council budget", "A night at the ministry", "Rent, bread and fuel", "The flood map"),
        ("what we know so far", "explained in three minutes", "the mayor answers", "a witness speaks", "day by day"),
        ("🗞️", "📉", "🗳️", "🌍"),
        ("news", "politics", "economy", "city", "explained", "breaking news"),
    ),
    "sports": Theme(
        ("Cup final", "Derby day", "Women's relay", "Under-19 trials", "The long jump record"),
        ("all the goals", "the last two minutes", "from the touchline", "in slow motion", "and what it means"),
        ("⚽", "🏀", "🥇", "🥅"),
        ("sports", "football", "highlights", "athletics", "interview"),
    ),
    "live": Theme(
        ("Council chamber", "Election night", "Press conference", "Charity concert", "Harbour camera"),
        ("as it happens", "with a second camera", "and your questions", "from the studio"),
        ("🔴", "🎙️", "📡"),
        ("live", "event", "press"),
    ),
    "music": Theme(
        ("Acoustic session", "Brass on the roof", "Fado no cais", "One-take choir", "Vinyl hour"),
        ("ao vivo", "the B-side", "with strings", "first take"),
        ("🎶", "🎷", "🥁"),
        ("music", "música", "session", "concert"),
    ),
    "food": Theme(
        ("Onion soup", "Rye bread", "Crème brûlée", "Lentils, again", "A pie for eight"),
        ("in one pot", "without an oven", "the cheap way", "step by step"),
        ("🍲", "🥖", "🧅"),
        ("food", "recipe", "vegetarian", "crème"),
    ),
    "film": Theme(
        ("Němý film", "Zítra ráno", "Matinee", "The projectionist", "Krátký film"),
        ("upoutávka", "first five minutes", "rozhovor s režisérkou", "a scene, frame by frame"),
        ("🎬", "🎞️", "🍿"),
        ("film", "trailer", "krátký film", "rozhovor"),
    ),
    "hebrew": Theme(
        ("החדשות של הבוקר", "בישול ביתי", "טיול בצפון", "שיחה על ספרים"),
        ("חלק ראשון", "עם אורחים", "מה שחשוב לדעת"),
        ("🌊", "📚", "🫒"),
        ("חדשות", "טיולים", "ספרים"),
    ),
    "arabic": Theme(
        ("أخبار اليوم", "مطبخ البيت", "رحلة إلى الجبل", "حوار المساء"),
        ("الجزء الأول", "مع ضيوفنا", "كل ما يجب معرفته"),
        ("🌙", "☕", "🏔️"),
        ("أخبار", "سفر", "مطبخ"),
    ),
    "cars": Theme(
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


def draw_title(theme: str, dice: Random) -> str:
    """Draw a title of the theme."""
    words = THEMES[theme]
    return dice.choice(_PATTERNS).format(
        subject=dice.choice(words.subjects),
        tail=dice.choice(words.tails),
        mark=dice.choice(words.marks),
        part=dice.randint(1, 400),
    )


def draw_tags(theme: str, dice: Random) -> list[str]:
    """Draw tags of the theme: none for a fifth, else one to all, in random order."""
    words = THEMES[theme].tags
    return [] if dice.random() < 0.2 else dice.sample(words, dice.randint(1, len(words)))  # noqa: PLR2004 - a fifth
