"""Fetches ranges of one file of an object store; gives an excerpt as an open file.

All of them are of the same file: those after the first name its ETag (`If-Match`), as the first answer told it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

import obstore
from obstore.exceptions import BaseError, PreconditionError

from reelport.errors import StorageError, StoreUnavailable
from reelport.storage.cut_answers import ask_again
from reelport.storage.excerpts import Excerpt, Range
from reelport.storage.object_errors import translate_object_errors

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult
    from obstore.store import S3Store

_CHUNK_BYTES = 1 << 20
_RESTARTS = 5
"""How often in a row a transfer may break without having brought a byte."""


class FileChanged(StorageError):
    """The file was deleted or put again since its end was read; `name` says which."""

    def __init__(self, sentence: str, name: str) -> None:
        super().__init__(sentence)
        self.name = name


class Identity(NamedTuple):
    """Which file of its name it is: its ETag, and its bytes."""

    e_tag: str
    size: int


@dataclass(frozen=True, slots=True)
class RemoteRanges:
    """The ranges of one file."""

    client: S3Store
    name: str
    place: str
    retry_seconds: float

    def read_end(self, count: int) -> tuple[Identity, bytes]:
        """Read the last bytes of the file, at most so many. FileNotFoundError without it."""
        with translate_object_errors(self.place):
            try:
                found = self._get({"range": {"suffix": count}})
            except FileNotFoundError:
                raise FileNotFoundError(self.place) from None
        meta = found.meta
        identity = Identity(meta["e_tag"] or "", meta["size"])
        start = max(identity.size - count, 0)
        try:
            end = bytes(found.bytes())
        except BaseError:  # the answer broke off: its bytes are read anew, of this very file
            end = b""
        if len(end) != identity.size - start:
            end = b"".join(self.read(identity, Range(start, identity.size)))
        return identity, end

    def read(self, identity: Identity, wanted: Range) -> Iterator[bytes]:
        """Yield the bytes of a range; a transfer that breaks goes on where it did.

        Raises FileChanged when the file is another one.
        """
        position, idle = wanted.start, 0
        while position < wanted.end:
            before = position
            for chunk in self._transfer(identity, Range(position, wanted.end)):
                position += len(chunk)
                if position > wanted.end:
                    raise StorageError(f"{self.place}: the object store gives more bytes than were asked for")
                yield chunk
            idle = 0 if position > before else idle + 1
            if idle > _RESTARTS:
                raise StoreUnavailable(f"{self.place}: the object store ends each transfer before it brings a byte")

    def _get(self, options: GetOptions) -> GetResult:
        return ask_again(lambda: obstore.get(self.client, self.name, options=options), self.retry_seconds)

    def _transfer(self, identity: Identity, wanted: Range) -> Iterator[bytes]:
        """Yield the chunks of one transfer, which may break."""
        options: GetOptions = {"range": (wanted.start, wanted.end), "if_match": identity.e_tag}
        with translate_object_errors(self.place):
            try:
                found = self._get(options)
            except (FileNotFoundError, PreconditionError) as error:
                raise FileChanged(f"{self.place} was deleted or put again while it was read", self.name) from error
        if (found.meta["size"], tuple(found.range)) != (identity.size, tuple(wanted)):
            raise FileChanged(f"{self.place}: the object store gives other bytes than were asked for", self.name)
        chunks = iter(found.stream(_CHUNK_BYTES))
        while True:
            try:
                chunk = next(chunks, None)
            except BaseError:
                return
            if chunk is None:
                return
            yield bytes(chunk)


class FileEnd(NamedTuple):
    """What is kept of a file's end: which file it is, and the description there."""

    identity: Identity
    description: bytes

    def to_bytes(self) -> bytes:
        """Write it."""
        return json.dumps(self.identity).encode() + b"\n" + self.description

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Read what `to_bytes` wrote."""
        line, _, description = content.partition(b"\n")
        return cls(Identity(*json.loads(line)), description)


class StreamedFile:
    """An open file whose bytes come one after the other, and are read once from front to back."""

    def __init__(self, size: int, chunks: Iterator[bytes]) -> None:
        self.size = size
        self._chunks = chunks
        self._waiting = memoryview(b"")
        self._position = 0

    def read(self, position: int, count: int) -> bytes:
        """Read up to `count` bytes from where the last read ended."""
        if position != self._position:
            raise ValueError("read from front to back")
        while not self._waiting and (chunk := next(self._chunks, None)) is not None:
            self._waiting = memoryview(chunk)
        taken, self._waiting = bytes(self._waiting[:count]), self._waiting[count:]
        self._position += len(taken)
        return taken

    def read_cached(self, position: int, count: int) -> bytes | None:  # noqa: ARG002 - the interface's
        """None: nothing can be read twice."""
        return None

    def close(self) -> None:
        """End it."""
        self._chunks, self._waiting = iter(()), memoryview(b"")


def open_excerpt(ranges: RemoteRanges, identity: Identity, excerpt: Excerpt) -> StreamedFile:
    """Open an excerpt of a file, which is fetched while it is read."""

    def chunks() -> Iterator[bytes]:
        yield excerpt.head
        for wanted in excerpt.ranges:
            yield from ranges.read(identity, wanted)
        yield excerpt.tail

    return StreamedFile(excerpt.size, chunks())
