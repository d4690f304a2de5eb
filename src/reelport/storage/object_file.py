"""An open file of an object store: most of it is read from one running transfer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError, PreconditionError

from reelport.errors import StorageError, StoreUnavailable
from reelport.storage.object_errors import translate_object_errors
from reelport.storage.retries import ask_again

if TYPE_CHECKING:
    from obstore import GetOptions
    from obstore.store import S3Store

_CHUNK_BYTES = 1 << 20
_RESTARTS = 5
"""How often in a row a transfer may break without having brought a byte."""


class ObjectFile:
    """A file as it was when it was opened: never a byte of a later one of its name.

    Bytes come from one transfer, which begins with the file's first byte and goes on when the file is deleted or put
    again. A read elsewhere begins another, and so does one after the transfer broke.
    """

    def __init__(self, client: S3Store, name: str, place: str, retry_seconds: float) -> None:
        """Open the file. FileNotFoundError without it."""
        self._client = client
        self._place = place
        self._retry_seconds = retry_seconds
        with translate_object_errors(place):
            found = ask_again(lambda: obstore.get(client, name), retry_seconds)
        self._meta = found.meta
        self._transfer: Iterator[object] | None = iter(found.stream(_CHUNK_BYTES))
        self._position = 0
        self._waiting = memoryview(b"")

    @property
    def size(self) -> int:
        """The bytes of the file."""
        return self._meta["size"]

    def read(self, position: int, count: int) -> bytes:
        """Read up to `count` bytes from this position; fewer only at the file's end.

        StorageError when another transfer is needed, and the file was deleted or put again.
        """
        if position != self._position:
            self.close()
            self._position = position
        wanted = max(min(count, self.size - position), 0)
        idle = 0
        while len(self._waiting) < wanted:
            fetched = self._fetch()
            idle = 0 if fetched else idle + 1
            if idle > _RESTARTS:
                raise StoreUnavailable(f"{self._place}: the object store ends each transfer before it brings a byte")
            self._waiting = memoryview(bytes(self._waiting) + fetched) if self._waiting else memoryview(fetched)
        return self._take(wanted)

    def read_cached(self, position: int, count: int) -> bytes | None:
        """Read what the transfer has brought already; None when that is elsewhere."""
        return self._take(count) if position == self._position and self._waiting else None

    def close(self) -> None:
        """End the transfer."""
        self._transfer, self._waiting = None, memoryview(b"")

    def _take(self, count: int) -> bytes:
        taken, self._waiting = bytes(self._waiting[:count]), self._waiting[count:]
        self._position += len(taken)
        return taken

    def _fetch(self) -> bytes:
        """Fetch the next bytes of the transfer; none when it broke.

        The next call then begins another.
        """
        if self._transfer is None:
            self._transfer = self._begin_transfer(self._position + len(self._waiting))
        try:
            fetched = next(self._transfer, None)
        except BaseError:
            fetched = None
        if fetched is None:
            self._transfer = None
            return b""
        return bytes(fetched)  # type: ignore[call-overload, no-any-return] # a buffer of the library's own

    def _begin_transfer(self, position: int) -> Iterator[object]:
        options: GetOptions = {"range": {"offset": position}, "if_match": self._meta["e_tag"]}
        with translate_object_errors(self._place):
            try:
                found = ask_again(
                    lambda: obstore.get(self._client, self._meta["path"], options=options), self._retry_seconds
                )
                return iter(found.stream(_CHUNK_BYTES))
            except (FileNotFoundError, PreconditionError) as error:
                raise StorageError(f"{self._place} was deleted or put again while it was read") from error
