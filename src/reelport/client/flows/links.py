"""Read a report's links, a page of the connection at a time, and the vendor's count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from reelport.errors import ServiceError

MOST_PAGES = 1000
"""Most pages of links to read: a vendor that never ends its pages is an error."""

MALFORMED = "The service's answer has not the shape that the Reporting API's schema gives it."


@dataclass(frozen=True, slots=True)
class Links:
    """The links of one or several pages; there must be `expected` in all.

    `following` is the number of the next page, None after the last.
    """

    found: tuple[str, ...] = ()
    expected: int = 0
    total: int | None = None
    following: int | None = None

    @classmethod
    def of(cls, connection: object, page: int) -> Self:
        """Read a page of `downloadLinks`; null has none. Raises ServiceError for another shape."""
        held = as_object(connection or {})
        edges = held.get("edges") or []
        if not isinstance(edges, list):
            raise ServiceError(MALFORMED)
        nodes = [as_object(as_object(edge or {}).get("node") or {}) for edge in edges]
        found = tuple(link for node in nodes if isinstance(link := node.get("link"), str) and link)
        total = held.get("totalCount")
        counted = total if isinstance(total, int) and not isinstance(total, bool) else None
        expected = len(edges) if counted is None else counted
        return cls(found, expected, counted, _read_next_page(as_object(held.get("pageInfo") or {}), page))

    def __add__(self, later: Links) -> Links:
        """These links and those of the page after them."""
        total = self.total if later.total is None else later.total
        expected = self.expected + later.expected if total is None else total
        return Links(self.found + later.found, expected, total, later.following)


def as_object(value: object) -> Mapping[str, object]:
    """Return a value that the schema says is an object. Raises ServiceError when it isn't."""
    if isinstance(value, dict):
        return value
    raise ServiceError(MALFORMED)


def _read_next_page(info: Mapping[str, object], page: int) -> int | None:
    """Return the next page's number. Raises ServiceError for a circle or an endless list."""
    if info.get("hasNextPage") is not True:
        return None
    named = info.get("nextPage")
    following = named if isinstance(named, int) and not isinstance(named, bool) else page + 1
    if following <= page or following > MOST_PAGES:
        raise ServiceError(f"The service's pages of links don't end: page {page} is followed by page {following}.")
    return following
