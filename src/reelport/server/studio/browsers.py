"""Names of browsers for people, from what browsers call themselves."""

from __future__ import annotations

_NAMES = (
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("CriOS/", "Chrome"),
    ("Safari/", "Safari"),
)
"""What stands in a browser's text, and its name: the first that is found counts, as most name others too."""
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)
_LONGEST = 60


def describe_browser(agent: str) -> str:
    """Name browser and system, as `Firefox on Linux`; else what it calls itself, cut short."""
    name = next((name for sign, name in _NAMES if sign in agent), None)
    system = next((name for sign, name in _SYSTEMS if sign in agent), None)
    if name is None:
        return agent[:_LONGEST] or "unknown"
    return f"{name} on {system}" if system else name
