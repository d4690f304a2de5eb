"""Words of the trade, and of other vendors, for which the wire has its own names."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_WORDS = (
    ("REVENUE ESTIMATED_REVENUE EARNING INCOME MONEY", "ESTIMATED_EARNINGS_EUR ESTIMATED_EARNINGS_USD"),
    ("REVENUE_EUR", "ESTIMATED_EARNINGS_EUR"),
    ("REVENUE_USD", "ESTIMATED_EARNINGS_USD"),
    ("WATCH_TIME WATCHTIME TIME_WATCHED MINUTES_WATCHED SECONDS_WATCHED HOURS_WATCHED", "TIME_WATCHED_SECONDS"),
    ("AVERAGE_VIEW_DURATION AVERAGE_WATCH_TIME", "AVERAGE_WATCH_TIME_SEC"),
    ("COMPLETION_RATE", "VIEW_THROUGH_RATE"),
    ("VTR", "VIEW_THROUGH_RATE VTR_SCORE"),
    ("PLAY START STREAM VIDEO_VIEW", "VIEWS"),
    ("VIEWER", "LIVE_VIEWERS"),
    ("IMPRESSION AD_IMPRESSION", "NB_IMPRESSION IMPRESSIONS"),
    ("CPM ECPM", "ECPM_EUR ECPM_USD"),
    ("RPM ERPM", "ERPM_EUR ERPM_USD"),
    ("DATE", "DAY"),
    ("CHANNEL CHANNEL_NAME OWNER", "VIDEO_OWNER_CHANNEL_SLUG CHANNEL_SLUG"),
    ("COUNTRY GEO", "VISITOR_COUNTRY"),
    ("DEVICE DEVICE_TYPE PLATFORM", "VISITOR_DEVICE_TYPE"),
    ("TITLE NAME", "VIDEO_TITLE"),
    ("VIDEO", "VIDEO_ID VIDEO_TITLE"),
    ("PLAYLIST", "PLAYLIST_ID PLAYLIST_TITLE"),
    ("PLAYER", "PLAYER_ID PLAYER_TITLE"),
    ("PUBLISHER", "PUBLISHER_CHANNEL PUBLISHER_ID"),
    ("TAG", "CONTENT_TAG CONTENT_TAG_LIST"),
    ("URL PAGE REFERRER", "VISITOR_PAGE_URL"),
    ("DOMAIN SITE", "VISITOR_DOMAIN_GROUP VISITOR_SUBDOMAIN"),
)
"""Words in the singular, and the wire's names for them, the likeliest first."""

_MONEY = frozenset(["REVENUE", "EARNING", "INCOME", "MONEY"])
"""Words in the singular for all that is counted in a currency."""

SYNONYMS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {word: tuple(names.split()) for words, names in _WORDS for word in words.split()}
)
"""Names of the wire for a word in capitals."""


def find_synonyms(word: str) -> tuple[str, ...]:
    """Find the names that a word may stand for; case, blanks, hyphens and plural don't matter."""
    cleaned, singular = _spell(word)
    return SYNONYMS.get(cleaned) or SYNONYMS.get(singular, ())


def means_money(word: str) -> bool:
    """Whether a word stands for everything that is counted in a currency."""
    return not _MONEY.isdisjoint(_spell(word))


def _spell(word: str) -> tuple[str, str]:
    """Spell a word as the wire does: as it is, and in the singular."""
    cleaned = word.strip().upper().replace(" ", "_").replace("-", "_")
    return cleaned, cleaned.removesuffix("IES") + "Y" if cleaned.endswith("IES") else cleaned.removesuffix("S")
