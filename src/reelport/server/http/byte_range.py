"""Which part of a file a request gets: its conditions and its range, as RFC 9110 has them."""

from __future__ import annotations

import re

from starlette.requests import Request

_RANGE = re.compile(r"bytes\s*=\s*([0-9]{0,18})\s*-\s*([0-9]{0,18})\s*", re.IGNORECASE)


def select_part(request: Request, tag: str, size: int) -> tuple[int, int, int]:
    """The status, the first byte and the length of what is sent of a file: conditions first, then the range."""
    match_, none_match = request.headers.get("if-match"), request.headers.get("if-none-match")
    if match_ is not None and not _names(match_, tag):
        return 412, 0, 0
    if none_match is not None and _names(none_match, tag):
        return 304, 0, 0
    wanted = request.headers.get("range")
    if_range = request.headers.get("if-range")
    if wanted is None or request.method != "GET" or (if_range is not None and if_range.strip() != tag):
        return 200, 0, size
    return read_range(wanted, size)


def _names(header: str, tag: str) -> bool:
    return header.strip() == "*" or tag in (each.strip().removeprefix("W/") for each in header.split(",", 50))


def read_range(header: str, size: int) -> tuple[int, int, int]:
    """One range is honoured; several, or what is no range at all, count as none."""
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
