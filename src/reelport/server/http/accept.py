"""Reads the `Accept` header: which of our media types a client prefers (RFC 9110, 12.5.1)."""

from __future__ import annotations

import re
from collections.abc import Sequence

_QUALITY = re.compile(r"q\s*=\s*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)", re.IGNORECASE)
LONGEST = 1000
"""Longest header that is read; a longer one counts as absent."""


def find_quality(accept: str, media_type: str) -> float:
    """Return how much a header wants a media type, from 0 (not acceptable) to 1.

    The most specific range decides. Parameters other than `q` are ignored. Without a header everything is acceptable.
    """
    if not accept.strip() or len(accept) > LONGEST:
        return 1.0
    found = {-1: 0.0}
    ranges = ("*/*", f"{media_type.partition('/')[0]}/*", media_type)
    for part in accept.split(","):
        name, *parameters = (each.strip() for each in part.split(";"))
        if name.lower() in ranges:
            weights = (match[1] for each in parameters if (match := _QUALITY.fullmatch(each)))
            found[ranges.index(name.lower())] = float(next(weights, 1))
    return found[max(found)]


def is_named(accept: str, media_type: str) -> bool:
    """Whether a header names the media type itself, not only a range that covers it."""
    names: Sequence[str] = [part.partition(";")[0].strip().lower() for part in accept[:LONGEST].split(",")]
    return media_type in names
