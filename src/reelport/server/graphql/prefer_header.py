"""Parses the `Prefer: wait=N` header (RFC 7240), by which a client asks for long polling."""

from __future__ import annotations

import re
from collections.abc import Iterable

_WAIT = re.compile(r'\s*wait\s*=\s*(?:"([0-9]{1,9})"|([0-9]{1,9}))\s*(?:;.*)?', re.IGNORECASE)
_LONGEST = 200


def parse_wait(headers: Iterable[str], most: int) -> int:
    """Return the seconds of the first valid `wait`, at most `most`; 0 when there is none."""
    for header in headers:
        for preference in header.split(",") if len(header) <= _LONGEST else ():
            if found := _WAIT.fullmatch(preference):
                return min(int(found[1] or found[2]), most)
    return 0
