"""The filters of templates: numbers, days and names in the language of the visit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from reelport.catalog.labels import label_names
from reelport.language import _, localize
from reelport.wording import format_day, format_days, format_size


def format_whole(value: float) -> str:
    """Write a whole number with its thousands set apart: 12,345."""
    return localize(f"{value:,.0f}")


def format_moment(moment: datetime) -> str:
    """Write a time to the minute, in UTC: 4 July 2026, 12:30 UTC."""
    return f"{format_day(moment)}, {moment:%H:%M} UTC"


def format_second(moment: datetime) -> str:
    """Write a time to the second, for logs; UTC: 2026-07-04 12:30:05."""
    return f"{moment:%Y-%m-%d %H:%M:%S}"


# What stands in a browser's text, and its name: the first that is found counts, as most name others too.
_BROWSERS = (
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("CriOS/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)
_LONGEST_BROWSER = 60


def describe_browser(agent: str) -> str:
    """Name browser and system, as `Firefox on Linux`; else what it calls itself, cut short."""
    name = next((name for sign, name in _BROWSERS if sign in agent), None)
    system = next((name for sign, name in _SYSTEMS if sign in agent), None)
    if name is None:
        return agent[:_LONGEST_BROWSER] or _("unknown")
    return _("%(browser)s on %(system)s", browser=name, system=system) if system else name


FILTERS: Mapping[str, Callable[..., str]] = {
    "whole": format_whole,
    "day": format_day,
    "days": format_days,
    "moment": format_moment,
    "second": format_second,
    "browser": describe_browser,
    "bytes": format_size,
    "labelled": label_names,
}
