"""Content encodings: which one a client asks for, and streams of downloads that compress."""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

from starlette.requests import Request

LEAST_BYTES = 16_384
"""Bytes of a file below which it is sent as it is."""
_GZIP_LEVEL, _GZIP_FRAME = 1, 31
"""Level 6 makes a fifth less of a report, in three times as much of a core."""
_QUALITY = re.compile(r"q\s*=\s*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)", re.IGNORECASE)
_MOST_CODINGS = 20


class Encoding(StrEnum):
    """A content coding of HTTP in which a file may be sent."""

    ZSTD = "zstd"
    GZIP = "gzip"


class Compressor(Protocol):
    """Compresses a stream of bytes; used by one thread at a time."""

    def compress(self, data: bytes) -> bytes:
        """Take the next bytes; return what of the compressed stream is ready, which may be nothing."""

    def flush(self) -> bytes:
        """End the stream; return the rest of it."""


def choose_encoding(request: Request, allowed: str, size: int) -> Encoding | None:
    """Choose how to send a whole file of so many bytes; None: as it is.

    A range, and a condition on what the client has already, are about the file as it is. HTTP/1.0 has no way to tell
    where a stream of unknown length ends.
    """
    plain = {"range", "if-range", "if-match"} & set(request.headers)
    if allowed == "none" or size < LEAST_BYTES or plain or request.scope.get("http_version") == "1.0":
        return None
    accepted = _parse_accepted(request.headers.get("accept-encoding", ""))
    offered = (coding for coding in Encoding if allowed == "zstd" or coding != "zstd")
    plain_wish = accepted.get("identity", 0.0)
    codings = [coding for coding in offered if accepted.get(coding, 0.0) > 0 and accepted[coding] >= plain_wish]
    return max(codings, key=lambda coding: accepted[coding], default=None)


def is_gzip_accepted(request: Request) -> bool:
    """Whether a client takes gzip as gladly as plain bytes."""
    accepted = _parse_accepted(request.headers.get("accept-encoding", ""))
    return accepted.get(Encoding.GZIP, 0.0) > 0 and accepted[Encoding.GZIP] >= accepted.get("identity", 0.0)


def _parse_accepted(header: str) -> dict[str, float]:
    """Parse Accept-Encoding: the quality of each coding that it names."""
    found: dict[str, float] = {}
    for each in header.split(",", _MOST_CODINGS)[:_MOST_CODINGS]:
        name, _, parameters = each.partition(";")
        quality = _QUALITY.fullmatch(parameters.strip())
        found[name.strip().lower()] = (float(quality[1]) if quality else 0.0) if parameters.strip() else 1.0
    return found


def make_compressor(encoding: Encoding) -> Compressor:
    """Make a compressor of this encoding, with some hundred kilobytes of memory."""
    makers: dict[Encoding, Callable[[], Compressor]] = {
        Encoding.GZIP: lambda: zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_FRAME),
        Encoding.ZSTD: _ZstdCompressor,
    }
    return makers[encoding]()


class _ZstdCompressor:
    """Zstandard by pyarrow, until Python has it itself (3.14)."""

    def __init__(self) -> None:
        import pyarrow as pa  # noqa: PLC0415 - slow to import; a process does so at its first such download

        self._sink = _Sink()
        self._stream = pa.CompressedOutputStream(pa.PythonFile(self._sink, mode="w"), "zstd")

    def compress(self, data: bytes) -> bytes:
        self._stream.write(data)
        return self._sink.take()

    def flush(self) -> bytes:
        self._stream.close()
        return self._sink.take()


class _Sink(io.RawIOBase):
    """Collects what is written to it until it is taken."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        self._parts.append(bytes(data))  # type: ignore[call-overload]
        return len(self._parts[-1])

    def take(self) -> bytes:
        """Return what was written since the last time."""
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken
