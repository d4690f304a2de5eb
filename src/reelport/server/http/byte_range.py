"""HTTP range requests (RFC 9110): which bytes of a file a request gets."""

from __future__ import annotations

import re

from starlette.requests import Request

_RANGE = re.compile(r"bytes\s*=\s*([0-9]{0,18})\s*-\s*([0-9]{0,18})\s*", re.IGNORECASE)


def select_range(request: Request, tag: str, size: int) -> tuple[int, int, int]:
    """Return status, first byte and length to send. Conditions (If-Match …) come first."""
    match_, none_match = request.headers.get("if-match"), request.headers.get("if-none-match")
    if match_ is not None and not _matches_tag(match_, tag):
        return 412, 0, 0
    if none_match is not None and _matches_tag(none_match, tag):
        return 304, 0, 0
    wanted = request.headers.get("range")
    if_range = request.headers.get("if-range")
    if wanted is None or request.method != "GET" or (if_range is not None and if_range.strip() != tag):
        return 200, 0, size
    return parse_range(wanted, size)


def _matches_tag(header: str, tag: str) -> bool:
    return header.strip() == "*" or tag in (each.strip().removeprefix("W/") for each in header.split(",", 50))


def parse_range(header: str, size: int) -> tuple[int, int, int]:
    """Parse a Range: status, first byte, length. Several or malformed ones: the whole file."""
    found = _RANGE.fullmatch(header.strip()) if len(header) < 100 else None  # noqa: PLR2004 - one range is short
    if found is None or not any(found.groups()):
        return 200, 0, size
    start, end = found.groups()
    if not start:
        first, last = max(size - int(end), 0), size - 1
    else:
        first, last = int(start), min(int(end), size - 1) if end else size - 1
        if end and int(end) < first:
            return 200, 0, size
    return (206, first, last - first + 1) if first <= last else (416, 0, 0)
