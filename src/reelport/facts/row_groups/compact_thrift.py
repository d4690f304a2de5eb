"""Walks values in Thrift's compact protocol, and splices new ones in.

Parquet writes its footers in it; what isn't replaced keeps its bytes.
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

_TRUE, _FALSE, _I16, _I32, _I64, _BINARY, _LIST, _STRUCT = 1, 2, 4, 5, 6, 8, 9, 12
_NUMBERS = frozenset({_I16, _I32, _I64})
_LONG_LIST = 15
_DEEPEST = 32


class MalformedThrift(ValueError):
    """Bytes that are no value of the protocol, or not the one that was asked for."""


class Value(NamedTuple):
    """A value between two places of a buffer; a struct and a list have others in them."""

    buffer: bytes
    kind: int
    start: int
    end: int
    inner: Mapping[int, Value]

    @property
    def shallow(self) -> Value:
        """The same without what is in it, which takes far more memory than its bytes."""
        return self._replace(inner=_NOTHING)

    @property
    def number(self) -> int:
        """The integer that it is."""
        if self.kind not in _NUMBERS:
            raise MalformedThrift("no integer")
        raw, _ = _read_varint(self.buffer, self.start)
        return (raw >> 1) ^ -(raw & 1)

    @property
    def content(self) -> bytes:
        """The bytes of the string that it is."""
        if self.kind != _BINARY:
            raise MalformedThrift("no string")
        _, start = _read_varint(self.buffer, self.start)
        return self.buffer[start : self.end]

    @property
    def fields(self) -> Mapping[int, Value]:
        """The fields of the struct that it is, by their ids."""
        if self.kind != _STRUCT:
            raise MalformedThrift("no struct")
        return self.inner

    @property
    def elements(self) -> Collection[Value]:
        """The elements of the list that it is."""
        if self.kind != _LIST:
            raise MalformedThrift("no list")
        return self.inner.values()


_NOTHING: Mapping[int, Value] = MappingProxyType({})
Splice = tuple[Value, bytes]
"""A value, and the bytes that take its place."""


def read_struct(buffer: bytes, start: int = 0) -> Value:
    """Read the struct that begins at a place of a buffer. MalformedThrift where none does."""
    try:
        return _read(buffer, start, _STRUCT, 0)
    except IndexError as error:
        raise MalformedThrift("cut off") from error


def splice(whole: Value, changes: Iterable[Splice]) -> bytes:
    """Write a value in which others have taken the places of some that lie in it."""
    parts, position = [], whole.start
    for value, content in sorted(changes, key=lambda change: change[0].start):
        parts += [whole.buffer[position : value.start], content]
        position = value.end
    return b"".join((*parts, whole.buffer[position : whole.end]))


def write_number(number: int) -> bytes:
    """Write an integer of 16, 32 or 64 bits."""
    return _write_varint((number << 1) ^ (number >> 63))


def write_structs(structs: list[bytes]) -> bytes:
    """Write a list of structs."""
    count = len(structs)
    header = bytes([count << 4 | _STRUCT]) if count < _LONG_LIST else bytes([0xF0 | _STRUCT]) + _write_varint(count)
    return header + b"".join(structs)


def _read(buffer: bytes, position: int, kind: int, depth: int) -> Value:
    """Read a value that begins here. IndexError where the buffer ends in it."""
    inner: Mapping[int, Value] = _NOTHING
    match kind:
        case 4 | 5 | 6:
            end = _skip_varint(buffer, position)
        case 8:
            length, start = _read_varint(buffer, position)
            end = start + length
        case 1 | 2 | 3:  # a boolean in a list is a byte
            end = position + 1
        case 7:
            end = position + 8
        case 9 | 12 if depth < _DEEPEST:
            inner, end = (_read_fields if kind == _STRUCT else _read_elements)(buffer, position, depth + 1)
        case _:  # Parquet has neither sets nor maps
            raise MalformedThrift(f"a value of the kind {kind}")
    if end > len(buffer):
        raise IndexError
    return Value(buffer, kind, position, end, inner)


def _read_fields(buffer: bytes, position: int, depth: int) -> tuple[Mapping[int, Value], int]:
    """Read the fields of a struct, and where it ends."""
    found: dict[int, Value] = {}
    id_ = 0
    while header := buffer[position]:
        position += 1
        kind = header & 0x0F
        if header >> 4:
            id_ += header >> 4
        else:
            raw, position = _read_varint(buffer, position)
            id_ = (raw >> 1) ^ -(raw & 1)
        if kind in {_TRUE, _FALSE}:
            found[id_] = Value(buffer, kind, position, position, _NOTHING)
            continue
        found[id_] = value = _read(buffer, position, kind, depth)
        position = value.end
    return found, position + 1


def _read_elements(buffer: bytes, position: int, depth: int) -> tuple[Mapping[int, Value], int]:
    """Read the elements of a list by their places, and where it ends."""
    found: dict[int, Value] = {}
    header = buffer[position]
    position += 1
    count, kind = header >> 4, header & 0x0F
    if count == _LONG_LIST:
        count, position = _read_varint(buffer, position)
    for place in range(count):
        found[place] = value = _read(buffer, position, kind, depth)
        position = value.end
    return found, position


def _skip_varint(buffer: bytes, position: int) -> int:
    while buffer[position] & 0x80:
        position += 1
    return position + 1


def _read_varint(buffer: bytes, position: int) -> tuple[int, int]:
    found = shift = 0
    while True:
        byte = buffer[position]
        position += 1
        found |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the bit that says that more follow
            return found, position
        shift += 7
        if shift > 63:  # noqa: PLR2004 - 64 bits at most
            raise MalformedThrift("a number of too many bits")


def _write_varint(number: int) -> bytes:
    written = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits a byte
        written.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*written, number))
