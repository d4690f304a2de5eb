"""Receive a link's bytes into a part file, resume after a cut, prove the file whole.

`Promise` is what the headers say of the file, `Intake` unzips, hashes and checks what comes, `Proof` says how strong
the proof is.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Self

from reelport.client.files.csv_checks import Rows, check_header, parse_columns
from reelport.client.files.part import Part
from reelport.client.steps import Reply
from reelport.errors import IncompleteDownload, ReportExpired, ServiceError, Unreachable
from reelport.query import ReportQuery
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
            f"The report's link is no longer valid (HTTP {head.status}). Download the report again by its token."
        )
    if head.status in _PASSING:
        raise Unreachable(f"The report's file can't be downloaded now (HTTP {head.status}).")
    if head.status not in {OK, PARTIAL, BEYOND}:
        raise ServiceError(f"The report's file can't be downloaded: HTTP {head.status}.")
    if page := _PAGES.get(kind):
        raise Unreachable(f"The service sent {page} instead of the report.")
    if encoding not in _KNOWN_ENCODINGS:
        raise ServiceError(f"The report's file is encoded as {encoding[:40]!r}, which was not asked for.")


_GZIP = b"\x1f\x8b"
_GZIP_WINDOW = 31
_UNPACKED_AT_ONCE = 1 << 20
_HEADER_BYTES = 1 << 16


class Intake:
    """The bytes received from a link so far; a cut download resumes in the same intake.

    With `columns` the part file has a header already: this file's must be the same, and isn't written again. Without a
    `part` the bytes are only checked.
    """

    def __init__(
        self, promise: Promise, part: Part | None, query: ReportQuery | None, columns: tuple[str, ...] | None = None
    ) -> None:
        self.promise = promise
        self.columns = columns
        self.received = 0
        self._part = part
        self._query = query
        self._head: bytes | None = b""
        self._rows: Rows | None = None
        self._last = b"\n"
        self._sound = True
        self._unpacker = _Unpacker()
        # Usually the part file's bytes are the wire's, and the part computes their hash: one hash is enough.
        self._whole = part is not None and columns is None
        self._wire = hashlib.sha256()
        self._plain = hashlib.sha256()

    def resume(self, header: bytes, size: int) -> None:
        """Resume after `size` uncompressed bytes, header included, that the part file has already."""
        self._accept_header(header)
        self._unpacker.disable()
        self.received = size

    def feed(self, raw: bytes) -> None:
        """Receive the next bytes off the wire. Raises for bytes that can't be the report's."""
        self._sound = False
        self.received += len(raw)
        for data in self._unpacker.unpack(raw):
            self._accept(data)
        if self._unpacker.packed or self._unpacker.undecided:
            self._wire.update(raw)
        self._sound = True

    def finish(self) -> Proof:
        """End the body; return the proof that it is whole. Raises IncompleteDownload."""
        total = self.promise.total
        if total is not None and self.received != total:
            raise IncompleteDownload(f"{self.received:,} bytes came where {total:,} were announced.")
        self._sound = False
        for data in self._unpacker.end():
            self._accept(data)
        if self._head is not None:
            self._accept_header(self._head)
        return self._find_proof()

    @property
    def packed(self) -> bool:
        """Whether the bytes are gzip."""
        return self._unpacker.packed

    @property
    def closed(self) -> bool:
        """Whether the last byte is a line end."""
        return self._last == b"\n"

    @property
    def is_resumable(self) -> bool:
        """Whether the received bytes are the beginning of the file, and the rest can be requested."""
        total = self.promise.total
        beginning = self.received > 0 and (total is None or self.received < total)
        return self.promise.resumable and beginning and self._sound

    @property
    def is_keepable(self) -> bool:
        """Whether another process can resume: the disk has the file's bytes, a checksum proves it."""
        return self.is_resumable and self.promise.provable and self._whole and not self.packed

    def _find_proof(self) -> Proof:
        if self.promise.sha256 is not None:
            found = {self.sha256, self._wire.hexdigest()} if self.packed else {self.sha256}
            if self.promise.sha256 not in found:
                raise IncompleteDownload("The file's SHA-256 is not the one that the service gave.")
            return Proof.CHECKSUM
        if self._rows is not None:
            self._rows.end()
        if self.promise.framed:
            return Proof.LENGTH
        return Proof.PACKED if self.packed else Proof.SHAPE

    @property
    def sha256(self) -> str:
        """The SHA-256 of the link's file, decompressed."""
        return self._part.sha256 if self._part is not None and self._whole else self._plain.hexdigest()

    def _accept(self, data: bytes) -> None:
        if not data:
            return
        self._last = data[-1:]
        if not self._whole:
            self._plain.update(data)
        if self._head is None:
            self._write(data)
            return
        self._head += data
        line, end, rest = self._head.partition(b"\n")
        if end:
            self._accept_header(line + end)
            self._write(rest)
        elif len(self._head) > _HEADER_BYTES:
            raise ServiceError("The service sent something else than a CSV: its first line has no end.")

    def _accept_header(self, line: bytes) -> None:
        self._head = None
        if self.columns is None:
            self.columns = check_header(line, self._query)
            if self._part is not None and not self._part.size:
                self._part.write(line)
        elif parse_columns(line) != self.columns:
            raise ServiceError("The files of the report have different headers: they can't be put together.")
        # Where a checksum will prove the file whole, its rows need no check.
        self._rows = None if self.promise.provable else Rows(len(self.columns), self._query)

    def _write(self, data: bytes) -> None:
        if self._rows is not None:
            self._rows.feed(data)
        if self._part is not None:
            self._part.write(data)


class _Unpacker:
    """Decompresses gzip of any number of members; passes other bytes on unchanged."""

    def __init__(self) -> None:
        self._begin: bytes | None = b""
        self._gzip: zlib._Decompress | None = None

    @property
    def packed(self) -> bool:
        return self._gzip is not None

    @property
    def undecided(self) -> bool:
        return self._begin is not None

    def disable(self) -> None:
        self._begin = None

    def unpack(self, raw: bytes) -> Iterator[bytes]:
        if self._begin is not None:
            raw = self._begin + raw
            self._begin = raw if len(raw) < len(_GZIP) else None
            if self._begin is not None:
                return
            if raw.startswith(_GZIP):
                self._gzip = zlib.decompressobj(_GZIP_WINDOW)
        if self._gzip is None:
            yield raw
        else:
            yield from self._unpack_members(raw)

    def end(self) -> Iterator[bytes]:
        if self._begin:
            yield self._begin
        if self._gzip is not None and not self._gzip.eof:
            raise IncompleteDownload("The packed file stops before its end.")

    def _unpack_members(self, raw: bytes) -> Iterator[bytes]:
        while raw:
            if self._gzip is None or self._gzip.eof:
                self._gzip = zlib.decompressobj(_GZIP_WINDOW)
            try:
                yield self._gzip.decompress(raw, _UNPACKED_AT_ONCE)
            except zlib.error as error:
                raise IncompleteDownload(f"The packed file is damaged ({error}).") from None
            # A few bytes may decompress to very many, so decompress them in pieces.
            raw = self._gzip.unconsumed_tail or self._gzip.unused_data
