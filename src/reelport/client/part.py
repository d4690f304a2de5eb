"""A file in the making: written beside its target, unpacked and hashed on the way, and put in its place when whole."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from reelport.client.shape import header_of
from reelport.errors import IncompleteDownload, ServiceError, StorageError, UsageError

_GZIP = b"\x1f\x8b"
_GZIP_WINDOW = 31
_HEADER_BYTES = 1 << 16


def checked_target(to: str | os.PathLike[str]) -> Path:
    """The file that a download may become, links followed. Raises UsageError before anything is asked for."""
    path = Path(to).expanduser()
    with storage(path):
        path = path.resolve()
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(f"{path} is no regular file: name a file to write the report to.")
        if not path.parent.is_dir():
            raise UsageError(f"There is no folder {path.parent} to write the report to.")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"The folder {path.parent} can't be written to.")
    return path


@contextmanager
def storage(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into a StorageError."""
    try:
        yield
    except OSError as error:
        advice = " Make room and download it again." if error.errno in {errno.ENOSPC, errno.EDQUOT} else ""
        raise StorageError(f"{path} can't be written or read: {error.strerror or error}.{advice}") from error


class Part:
    """A `.part` file beside the target. Unless `publish` is called it is gone at the end of the `with`."""

    def __init__(self, target: Path) -> None:
        self.target = target
        # A name of its own, so that two downloads to one target can't write into each other.
        self.path = target.with_name(f"{target.name}.{secrets.token_hex(4)}.part")
        with storage(target):
            self._file = self.path.open("xb", buffering=1 << 20)
        self.size = 0
        self.header: tuple[str, ...] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self.path.unlink()

    def write(self, data: bytes) -> None:
        """Append bytes. Raises StorageError when the disk takes no more."""
        with storage(self.target):
            self._file.write(data)
        self.size += len(data)

    def rewind(self, size: int) -> None:
        """Forget everything after the first `size` bytes."""
        with storage(self.target):
            self._file.seek(size)
            self._file.truncate()
        self.size = size

    def flush(self) -> None:
        """Let readers of the path see all that was written."""
        with storage(self.target):
            self._file.flush()

    def publish(self) -> None:
        """Make it durable and give it the target's name, in place of what had it."""
        with storage(self.target):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self.path.replace(self.target)
            _sync_folder(self.target.parent)


class Intake:
    """One link's bytes on their way into a part: unpacked where they are gzip, hashed, the header once.

    A part that has a header already gets none again: the file's header must be the same.
    """

    def __init__(self, part: Part) -> None:
        self._part = part
        self._unpacker = _Unpacker()
        self._plain, self._wire = hashlib.sha256(), hashlib.sha256()
        self._head: bytes | None = b"" if part.header is not None else None
        self._last = b"\n"
        self.received = 0

    def take(self, raw: bytes) -> None:
        """The next bytes off the wire."""
        self.received += len(raw)
        self._wire.update(raw)
        for data in self._unpacker.unpack(raw):
            self._plain.update(data)
            self._keep(data)

    def end(self) -> None:
        """The body is over. Raises IncompleteDownload when gzip says that there is more."""
        for data in self._unpacker.end():
            self._plain.update(data)
            self._keep(data)
        if self._head is not None:
            self._drop_header(self._head)

    def has_hash(self, sha256: str) -> bool:
        """Whether the bytes, as they came or unpacked, have this SHA-256."""
        return sha256 in {self._plain.hexdigest(), self._wire.hexdigest()}

    @property
    def closed(self) -> bool:
        """Whether the last byte is a line end."""
        return self._last == b"\n"

    def _keep(self, data: bytes) -> None:
        if not data:
            return
        self._last = data[-1:]
        if self._head is None:
            self._part.write(data)
            return
        self._head += data
        line, end, rest = self._head.partition(b"\n")
        if end:
            self._drop_header(line)
            self._part.write(rest)
        elif len(self._head) > _HEADER_BYTES:
            raise ServiceError("What the service sent is no CSV: its first line has no end.")

    def _drop_header(self, line: bytes) -> None:
        self._head = None
        if header_of(line) != self._part.header:
            raise ServiceError("The files of the report have different headers: they can't be put together.")


class _Unpacker:
    """Bytes as they are, or what they unpack to when they begin as gzip does; any number of gzip members."""

    def __init__(self) -> None:
        self._begin: bytes | None = b""
        self._gzip: zlib._Decompress | None = None

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
            yield from self._members(raw)

    def end(self) -> Iterator[bytes]:
        if self._begin:
            yield self._begin
        if self._gzip is not None and not self._gzip.eof:
            raise IncompleteDownload("The packed file stops before its end. Nothing was kept; download it again.")

    def _members(self, raw: bytes) -> Iterator[bytes]:
        while raw:
            if self._gzip is None or self._gzip.eof:
                self._gzip = zlib.decompressobj(_GZIP_WINDOW)
            try:
                yield self._gzip.decompress(raw)
            except zlib.error as error:
                raise IncompleteDownload(f"The packed file is damaged ({error}). Nothing was kept.") from None
            raw = self._gzip.unused_data


def _sync_folder(folder: Path) -> None:
    """Make a rename durable, where the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
