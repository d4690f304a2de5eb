"""Read a file's digests from headers, and compute checksums to compare with them."""

from __future__ import annotations

import hashlib
import re
import zlib
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Protocol

_SIZES = {"md5": 16, "sha1": 20, "sha256": 32, "sha512": 64, "crc32": 4, "crc32c": 4, "crc64nvme": 8}
"""Bytes of a digest of each algorithm; digests of other algorithms are ignored."""

_SLOW = frozenset({"crc32c", "crc64nvme"})
_LONGEST = 8 << 20
"""Largest file, in bytes, for which we compute a checksum that the standard library lacks."""

_ALIASES = {"sha": "sha1"}
_FIELD = re.compile(r"([A-Za-z0-9-]+)\s*=\s*:([A-Za-z0-9+/=]+):")
_PAIR = re.compile(r"([A-Za-z0-9-]+)=([A-Za-z0-9+/=]+)")
_MD5_TAG = re.compile(r'"([0-9a-f]{32})"')
_AMAZON = "x-amz-checksum-"


@dataclass(frozen=True, slots=True)
class Digest:
    """A digest of a whole file, and the header that gave it.

    A digest that is not `explicit` may mean something else, so a mismatch proves nothing.
    """

    header: str
    algorithm: str
    value: bytes
    explicit: bool = True


def read_digests(headers: Mapping[str, str]) -> tuple[Digest, ...]:
    """Read the digests in a whole file's headers; skips malformed and unknown ones."""
    found = [Digest("ETag", "md5", bytes.fromhex(tag[1]), explicit=False)] if (tag := _read_md5_tag(headers)) else []
    for header, name, text in _list_digest_texts(headers):
        word = name.lower().replace("-", "")
        algorithm = _ALIASES.get(word, word)
        with suppress(ValueError):
            value = b64decode(text, validate=True)
            if len(value) == _SIZES.get(algorithm):
                found.append(Digest(header, algorithm, value))
    cheap = [digest for digest in found if digest.algorithm not in _SLOW]
    return tuple(cheap if any(digest.explicit for digest in cheap) else found)


class Hashes:
    """Computes several checksums of one stream of bytes."""

    def __init__(self, algorithms: Iterable[str]) -> None:
        self._hashes = {name: _make_hash(name) for name in sorted(set(algorithms))}

    def update(self, data: bytes) -> None:
        """Add the next bytes."""
        for each in self._hashes.values():
            each.update(data)

    def digest(self, algorithm: str) -> bytes | None:
        """Return the checksum of all bytes; None where the file was too long to compute it."""
        return self._hashes[algorithm].digest() or None


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


class _Crc:
    """A cyclic redundancy check, from a function of the next bytes and the value so far."""

    def __init__(self, step: Callable[[bytes, int], int], size: int, longest: float = float("inf")) -> None:
        self._step, self._size, self._left, self._value = step, size, longest, 0

    def update(self, data: bytes, /) -> None:
        self._left -= len(data)
        if self._left >= 0:
            self._value = self._step(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._size, "big") if self._left >= 0 else b""


def _make_hash(algorithm: str) -> _Hash:
    match algorithm:
        case "crc32":
            return _Crc(zlib.crc32, 4)
        case "crc32c":
            return _Crc(lambda data, before: _compute_crc(data, before, 0x82F63B78, 0xFFFFFFFF), 4, _LONGEST)
        case "crc64nvme":
            return _Crc(lambda data, before: _compute_crc(data, before, 0x9A6C9329AC4BC9B5, (1 << 64) - 1), 8, _LONGEST)
        case _:
            return hashlib.new(algorithm, usedforsecurity=False)


def _compute_crc(data: bytes, before: int, polynomial: int, ones: int) -> int:
    table, value = _build_crc_table(polynomial), before ^ ones
    for byte in data:
        value = table[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ ones


@cache
def _build_crc_table(polynomial: int) -> tuple[int, ...]:
    """Compute the CRC remainders of all byte values, for a polynomial with reversed bits."""
    found = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (polynomial if value & 1 else 0)  # noqa: PLW2901 - the remainder so far
        found.append(value)
    return tuple(found)


def _read_md5_tag(headers: Mapping[str, str]) -> re.Match[str] | None:
    """Match an ETag that may be an MD5, as in object stores; others may look the same."""
    return _MD5_TAG.fullmatch(headers.get("etag", "").strip().removeprefix("W/"))


def _list_digest_texts(headers: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield each digest's header, algorithm and Base64 value."""
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
