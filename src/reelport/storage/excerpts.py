"""Excerpts: smaller files made of ranges of a file, for readers that need few of its bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

REQUEST_BYTES = 1 << 20
"""What a request is worth: bytes that are transferred in the time that one takes."""


class Range(NamedTuple):
    """Bytes of a file from a place up to another."""

    start: int
    end: int

    @property
    def size(self) -> int:
        """How many bytes they are."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A file made of ranges of another, between bytes of its own.

    `key` names it among all excerpts of that file: the same key, the same bytes.
    """

    key: str
    head: bytes
    ranges: tuple[Range, ...]
    tail: bytes

    @property
    def cost(self) -> int:
        """The bytes that fetching it takes, requests counted as bytes."""
        return sum(each.size + REQUEST_BYTES for each in self.ranges)

    @property
    def size(self) -> int:
        """Its bytes."""
        return len(self.head) + sum(each.size for each in self.ranges) + len(self.tail)


class Cutter(Protocol):
    """Cuts excerpts of files of one format, which says at its end where everything lies."""

    def measure_end(self, end: bytes) -> int:
        """Return how many bytes the description at a file's end has, of which these are the last."""

    def cut(self, size: int, description: bytes) -> Excerpt | None:
        """Cut an excerpt of a file of this size; None where it must be read whole."""


@dataclass(frozen=True, slots=True)
class ExcerptRule:
    """Reads files of so many bytes by excerpts, as long as that takes a share at most."""

    least_bytes: int
    most_share: float

    def is_worth(self, size: int, cost: int) -> bool:
        """Whether so many bytes are worth fetching instead of the whole file."""
        return self.most_share > 0 and size >= self.least_bytes and cost <= size * self.most_share


class FetchPlan(NamedTuple):
    """What a read of files would fetch: how many there are, and which are missing."""

    files: int
    bytes: int
    missing_files: int
    missing_parts: int
    """Of the missing files, how many are fetched by parts."""
    missing_bytes: int


NO_EXCERPTS = ExcerptRule(0, 0)
