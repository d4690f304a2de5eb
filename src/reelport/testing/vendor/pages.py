"""Pagination of a report's links: parse the wanted page, build its GraphQL connection."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

_NUMBERS = re.compile(r"downloadLinks\s*\(([^)]*)\)")


@dataclass(frozen=True, slots=True)
class Page:
    """A page of links: its number, from 1, and the size of a page; None puts all links on one."""

    number: int
    size: int | None

    @classmethod
    def of(cls, document: str, variables: Mapping[str, Any], size: int | None) -> Self:
        """Parse the page asked for by `first` and `page`, inline or in variables so named."""
        written = _NUMBERS.search(document)
        inline = dict(re.findall(r"(first|page)\s*:\s*(\d+)", written[1] if written else ""))
        first, number = (variables.get(name) or inline.get(name) for name in ("first", "page"))
        return cls(max(1, int(number or 1)), int(first) if first else size)

    def connection(self, links: Sequence[str], lost: int) -> dict[str, Any]:
        """Build the GraphQL connection of this page; `totalCount` is too high by `lost`."""
        size = self.size or max(1, len(links))
        begin = (self.number - 1) * size
        more = begin + size < len(links)
        return {
            "edges": [{"node": {"link": link}} for link in links[begin : begin + size]],
            "pageInfo": {
                "hasNextPage": more,
                "hasPreviousPage": self.number > 1,
                "nextPage": self.number + 1 if more else None,
            },
            "totalCount": len(links) + lost if links else 0,
        }
