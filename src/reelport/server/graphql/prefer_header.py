"""How long a caller prefers to wait for an answer: `Prefer: wait=N` (RFC 7240)."""

from __future__ import annotations

import re
from collections.abc import Iterable

_WAIT = re.compile(r'\s*wait\s*=\s*(?:"([0-9]{1,9})"|([0-9]{1,9}))\s*(?:;.*)?', re.IGNORECASE)
_LONGEST = 200


def parse_wait(headers: Iterable[str], most: int) -> int:
    """The seconds of the first `wait` in the `Prefer` headers, at most `most`; 0 when none can be read."""
    for header in headers:
        for preference in header.split(",") if len(header) <= _LONGEST else ():
            if found := _WAIT.fullmatch(preference):
                return min(int(found[1] or found[2]), most)
    return 0
