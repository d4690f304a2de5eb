"""Proofs that a file is whole: what headers promise, and how strong each proof is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Self

from reelport.client.steps import Reply
from reelport.errors import ReportExpired, ServiceError, Unreachable
from reelport.wire import COMPLETE_HEADER, parse_complete_day

OK, PARTIAL, BEYOND = 200, 206, 416

_GONE = frozenset({400, 401, 403, 404, 410})  # statuses by which servers of signed links report an expired one
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_KNOWN_ENCODINGS = frozenset({"", "identity", "gzip", "x-gzip"})
_PAGES = {"text/html": "an HTML page", "application/json": "a message"}
_TAG = re.compile(r'(?:W/)?"([^"]*)"')
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMPLETE = COMPLETE_HEADER.lower()
_SIZE = re.compile(r"[0-9]{1,19}")
_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})")


class Proof(StrEnum):
    """What proves a file whole, strongest first."""

    CHECKSUM = "its SHA-256 is the service's"
    LENGTH = "its length is the service's, and every row is whole"
    PACKED = "the gzip stream ends with its own checksum, and every row is whole"
    SHAPE = "every row is whole, but the service said neither length nor checksum"

    @property
    def word(self) -> str:
        """The proof as one word, for machines."""
        return self.name.lower()


ORDER = tuple(Proof)


def find_weakest(proofs: list[Proof]) -> Proof:
    """Return the weakest proof: it holds for several files together."""
    return max(proofs, key=ORDER.index, default=Proof.CHECKSUM)


@dataclass(frozen=True, slots=True)
class Promise:
    """What headers say of the whole file; the body begins at byte `start` of it.

    `sha256` is the ETag where it is one.
    """

    start: int
    total: int | None
    framed: bool
    tag: str
    strong: bool
    sha256: str | None
    ranges: bool
    encoded: bool
    last_complete_day: date | None = None

    @classmethod
    def of(cls, head: Reply) -> Self:
        """Read the promise from the headers of a response that holds a file or a part of one."""
        tag = head.headers.get("etag", "").strip()
        value = _TAG.fullmatch(tag)
        found = _SHA256.fullmatch(value[1]) if value else None
        length = _SIZE.fullmatch(head.headers.get("content-length", "").strip())
        part = _RANGE.fullmatch(head.headers.get("content-range", "")) if head.status == PARTIAL else None
        chunked = "chunked" in head.headers.get("transfer-encoding", "").lower()
        total = int(part[3]) if part else int(length[0]) if length and head.status == OK else None
        return cls(
            start=int(part[1]) if part else 0,
            total=total,
            framed=length is not None or chunked,
            tag=tag,
            strong=value is not None and not tag.startswith("W/"),
            sha256=found[0] if found else None,
            ranges=part is not None or head.headers.get("accept-ranges", "").strip().lower() == "bytes",
            encoded=read_encoding(head) not in {"", "identity"},
            last_complete_day=parse_complete_day(head.headers.get(_COMPLETE, "").strip()),
        )

    @property
    def provable(self) -> bool:
        """Whether the file's SHA-256 is known for certain before the body."""
        return self.strong and self.sha256 is not None

    @property
    def resumable(self) -> bool:
        """Whether a cut download can resume: ranges, and a strong ETag for the file."""
        return self.strong and self.ranges

    def is_continuation(self, start: int, earlier: Promise | None) -> bool:
        """Whether this response is the rest, from `start` on, of the file promised earlier."""
        if self.start != start or self.total is None:
            return False
        if earlier is None:
            return self.provable and not self.encoded
        return self.tag == earlier.tag and earlier.total in {None, self.total}


def read_encoding(head: Reply) -> str:
    """Return the body's content encoding, in lower case."""
    return head.headers.get("content-encoding", "").strip().lower()


def check_head(head: Reply) -> None:
    """Raise for a response that holds no file."""
    kind = head.headers.get("content-type", "").partition(";")[0].strip().lower()
    encoding = read_encoding(head)
    if head.status in _GONE:
        raise ReportExpired(
            f"The report's link is not good any more (HTTP {head.status}). Download it again by its token."
        )
    if head.status in _PASSING:
        raise Unreachable(f"The report's file can't be had now (HTTP {head.status}).")
    if head.status not in {OK, PARTIAL, BEYOND}:
        raise ServiceError(f"The report's file can't be had: HTTP {head.status}.")
    if page := _PAGES.get(kind):
        raise Unreachable(f"The service sent {page} instead of the report.")
    if encoding not in _KNOWN_ENCODINGS:
        raise ServiceError(f"The report's file is encoded as {encoding[:40]!r}, which was not asked for.")
