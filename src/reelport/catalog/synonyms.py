"""Words of the trade, and of other vendors, for which the wire has its own names."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_EARNINGS = ("ESTIMATED_EARNINGS_EUR", "ESTIMATED_EARNINGS_USD")
_WATCH_TIME = ("TIME_WATCHED_SECONDS",)
_CHANNEL = ("VIDEO_OWNER_CHANNEL_SLUG", "CHANNEL_SLUG")
_PAGE = ("VISITOR_PAGE_URL",)
_DOMAIN = ("VISITOR_DOMAIN_GROUP", "VISITOR_SUBDOMAIN")

SYNONYMS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "REVENUE": _EARNINGS,
        "ESTIMATED_REVENUE": _EARNINGS,
        "EARNING": _EARNINGS,
        "INCOME": _EARNINGS,
        "MONEY": _EARNINGS,
        "REVENUE_EUR": _EARNINGS[:1],
        "REVENUE_USD": _EARNINGS[1:],
        "WATCH_TIME": _WATCH_TIME,
        "WATCHTIME": _WATCH_TIME,
        "TIME_WATCHED": _WATCH_TIME,
        "MINUTES_WATCHED": _WATCH_TIME,
        "SECONDS_WATCHED": _WATCH_TIME,
        "HOURS_WATCHED": _WATCH_TIME,
        "AVERAGE_VIEW_DURATION": ("AVERAGE_WATCH_TIME_SEC",),
        "AVERAGE_WATCH_TIME": ("AVERAGE_WATCH_TIME_SEC",),
        "COMPLETION_RATE": ("VIEW_THROUGH_RATE",),
        "VTR": ("VIEW_THROUGH_RATE", "VTR_SCORE"),
        "PLAY": ("VIEWS",),
        "START": ("VIEWS",),
        "STREAM": ("VIEWS",),
        "VIDEO_VIEW": ("VIEWS",),
        "VIEWER": ("LIVE_VIEWERS",),
        "IMPRESSION": ("NB_IMPRESSION", "IMPRESSIONS"),
        "AD_IMPRESSION": ("NB_IMPRESSION", "IMPRESSIONS"),
        "CPM": ("ECPM_EUR", "ECPM_USD"),
        "ECPM": ("ECPM_EUR", "ECPM_USD"),
        "RPM": ("ERPM_EUR", "ERPM_USD"),
        "ERPM": ("ERPM_EUR", "ERPM_USD"),
        "DATE": ("DAY",),
        "CHANNEL": _CHANNEL,
        "CHANNEL_NAME": _CHANNEL,
        "OWNER": _CHANNEL,
        "COUNTRY": ("VISITOR_COUNTRY",),
        "GEO": ("VISITOR_COUNTRY",),
        "DEVICE": ("VISITOR_DEVICE_TYPE",),
        "DEVICE_TYPE": ("VISITOR_DEVICE_TYPE",),
        "PLATFORM": ("VISITOR_DEVICE_TYPE",),
        "TITLE": ("VIDEO_TITLE",),
        "NAME": ("VIDEO_TITLE",),
        "VIDEO": ("VIDEO_ID", "VIDEO_TITLE"),
        "PLAYLIST": ("PLAYLIST_ID", "PLAYLIST_TITLE"),
        "PLAYER": ("PLAYER_ID", "PLAYER_TITLE"),
        "PUBLISHER": ("PUBLISHER_CHANNEL", "PUBLISHER_ID"),
        "TAG": ("CONTENT_TAG", "CONTENT_TAG_LIST"),
        "URL": _PAGE,
        "PAGE": _PAGE,
        "REFERRER": _PAGE,
        "DOMAIN": _DOMAIN,
        "SITE": _DOMAIN,
    }
)
"""Names of the wire for a word, the likeliest first. Words are in capitals and in the singular."""


def find_synonyms(word: str) -> tuple[str, ...]:
    """Find the names that a word may stand for.

    Case, blanks, hyphens and the plural don't matter.
    """
    cleaned = word.strip().upper().replace(" ", "_").replace("-", "_")
    singular = cleaned.removesuffix("IES") + "Y" if cleaned.endswith("IES") else cleaned.removesuffix("S")
    return SYNONYMS.get(cleaned) or SYNONYMS.get(singular, ())
