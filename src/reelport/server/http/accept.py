"""Reads the `Accept` header: which of our media types a client prefers (RFC 9110, 12.5.1)."""

from __future__ import annotations

import re

_WEIGHT = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
_LONGEST = 1000
"""Longest header that is read; a longer one counts as absent."""


def find_quality(accept: str, media_type: str) -> float:
    """Return how much a header wants a media type, from 0 (not acceptable) to 1.

    The most specific range decides. Parameters other than `q` are ignored; a `q` that is no weight counts as 0. Without
    a header everything is acceptable.
    """
    if not accept.strip() or len(accept) > _LONGEST:
        return 1.0
    found = {-1: 0.0}
    ranges = ("*/*", f"{media_type.partition('/')[0]}/*", media_type)
    for part in accept.split(","):
        name, *parameters = (each.strip() for each in part.split(";"))
        if name.lower() in ranges:
            given = (each.partition("=") for each in parameters)
            weight = next((text.strip() for key, _, text in given if key.strip().lower() == "q"), "1")
            found[ranges.index(name.lower())] = float(weight) if _WEIGHT.fullmatch(weight) else 0.0
    return found[max(found)]


def is_named(accept: str, media_type: str) -> bool:
    """Whether a header names the media type itself, not only a range that covers it."""
    names = (part.partition(";")[0].strip().lower() for part in accept.split(","))
    return len(accept) <= _LONGEST and media_type in names
