"""Proofs that a file is whole: what headers promise, digests, and their strength."""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Self

from reelport.client.steps import Reply
from reelport.errors import ReportExpired, ServiceError, Unreachable
from reelport.wire import COMPLETE_HEADER, ROWS_HEADER, parse_complete_day

OK, PARTIAL, BEYOND = 200, 206, 416

_GONE = frozenset({400, 401, 403, 404, 410})  # statuses by which servers of signed links report an expired one
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_KNOWN_ENCODINGS = frozenset({"", "identity", "gzip", "x-gzip"})
_PAGES = {"text/html": "an HTML page", "application/json": "a message"}
_TAG = re.compile(r'(?:W/)?"([^"]*)"')
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ROWS, _COMPLETE = ROWS_HEADER.lower(), COMPLETE_HEADER.lower()
_SIZE = re.compile(r"[0-9]{1,19}")
_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})")

# Bytes of a digest of each algorithm; digests of other algorithms are ignored.
_SIZES = {"md5": 16, "sha1": 20, "sha256": 32, "sha512": 64}
_ALIASES = {"sha": "sha1"}
_FIELD = re.compile(r"([A-Za-z0-9-]+)\s*=\s*:([A-Za-z0-9+/=]+):")
_PAIR = re.compile(r"([A-Za-z0-9-]+)=([A-Za-z0-9+/=]+)")
_MD5_TAG = re.compile(r'"([0-9a-f]{32})"')
_AMAZON = "x-amz-checksum-"


class Proof(StrEnum):
    """What proves a file whole, strongest first."""

    CHECKSUM = "its SHA-256 is the service's"
    MD5 = "its MD5 is the service's, and every row is whole"
    LENGTH = "its length is the service's, and every row is whole"
    PACKED = "the gzip stream ends with its own checksum, and every row is whole"
    TWICE = "it came twice with the same bytes, though the service said neither length nor checksum"
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

    `sha256` is the ETag where it is one. `digests` come from other headers of a response with the whole file.
    """

    start: int
    total: int | None
    framed: bool
    tag: str
    strong: bool
    sha256: str | None
    ranges: bool
    encoded: bool
    digests: tuple[Digest, ...] = ()
    claimed_rows: int | None = None
    last_complete_day: date | None = None

    @classmethod
    def of(cls, head: Reply) -> Self:
        """Read the promise from the headers of a response that holds a file or a part of one."""
        tag = head.headers.get("etag", "").strip()
        value = _TAG.fullmatch(tag)
        found = _SHA256.fullmatch(value[1]) if value else None
        length = _SIZE.fullmatch(head.headers.get("content-length", "").strip())
        part = _RANGE.fullmatch(head.headers.get("content-range", "")) if head.status == PARTIAL else None
        rows = _SIZE.fullmatch(head.headers.get(_ROWS, "").strip())
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
            digests=read_digests(head.headers) if head.status == OK else (),
            claimed_rows=int(rows[0]) if rows else None,
            last_complete_day=parse_complete_day(head.headers.get(_COMPLETE, "").strip()),
        )

    @property
    def provable(self) -> bool:
        """Whether the file's SHA-256 is known for certain before the body."""
        return self.strong and self.sha256 is not None

    @property
    def rows(self) -> int | None:
        """The number of rows, where a checksum will prove that the service counted this very file."""
        return self.claimed_rows if self.provable and not self.encoded else None

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


@dataclass(frozen=True, slots=True)
class Digest:
    """A digest of a whole file, and its header; only an `explicit` one's mismatch counts."""

    header: str
    algorithm: str
    value: bytes
    explicit: bool = True


def read_digests(headers: Mapping[str, str]) -> tuple[Digest, ...]:
    """Read the digests in a whole file's headers; skips malformed and unknown ones."""
    # An ETag may be an MD5, as in object stores; others may look the same.
    tag = _MD5_TAG.fullmatch(headers.get("etag", "").strip().removeprefix("W/"))
    found = [Digest("ETag", "md5", bytes.fromhex(tag[1]), explicit=False)] if tag else []
    for header, name, text in _list_digest_texts(headers):
        word = name.lower().replace("-", "")
        algorithm = _ALIASES.get(word, word)
        with suppress(ValueError):
            value = b64decode(text, validate=True)
            if len(value) == _SIZES.get(algorithm):
                found.append(Digest(header, algorithm, value))
    return tuple(found)


class Hashes:
    """Computes several checksums of one stream of bytes."""

    def __init__(self, algorithms: Iterable[str]) -> None:
        self._hashes = {name: hashlib.new(name, usedforsecurity=False) for name in sorted(set(algorithms))}

    def update(self, data: bytes) -> None:
        """Add the next bytes."""
        for each in self._hashes.values():
            each.update(data)

    def digest(self, algorithm: str) -> bytes:
        """Return the checksum of all bytes."""
        return self._hashes[algorithm].digest()


def _list_digest_texts(headers: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    if text := headers.get("content-md5", "").strip():
        yield "Content-MD5", "md5", text
    for header in ("Repr-Digest", "Content-Digest"):
        for name, text in _FIELD.findall(headers.get(header.lower(), "")):
            yield header, name, text
    for name, text in _PAIR.findall(headers.get("digest", "")):
        yield "Digest", name, text
    # For a file stored as gzip and sent decompressed, the header has the digest of the stored gzip.
    unpacked = headers.get("x-goog-stored-content-encoding", "").strip().lower() == "gzip" and not headers.get(
        "content-encoding"
    )
    for name, text in () if unpacked else _PAIR.findall(headers.get("x-goog-hash", "")):
        yield "x-goog-hash", name, text
    # A composite checksum covers the checksums of an upload's parts, not the file.
    composite = headers.get("x-amz-checksum-type", "").strip().upper() == "COMPOSITE"
    for name, text in headers.items():
        if name.startswith(_AMAZON) and name != f"{_AMAZON}type" and not composite:
            yield name, name.removeprefix(_AMAZON), text.strip()
