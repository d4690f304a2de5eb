"""The footer of a Parquet file: where its row groups lie, and what their statistics say.

https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift names the fields by these numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from reelport.facts.row_groups.compact_thrift import (
    MalformedThrift,
    Value,
    read_struct,
    splice,
    write_number,
    write_structs,
)
from reelport.storage.excerpts import Range

MAGIC = b"PAR1"
TRAILER_BYTES = 8
"""The length of the footer and the magic number, with which a file ends."""
_NUM_ROWS, _ROW_GROUPS, _SCHEMA = 3, 4, 2
_ENCRYPTION = frozenset({8, 9})
_GROUP_COLUMNS, _GROUP_ROWS, _GROUP_OFFSET, _GROUP_ORDINAL = 1, 3, 5, 7
_CHUNK_OFFSET, _CHUNK_META = 2, 3
_CHUNK_FIELDS = frozenset({_CHUNK_OFFSET, _CHUNK_META})
"""All others lead elsewhere: to another file, to an index of pages, to keys."""
_TYPE, _PATH, _COMPRESSED, _DATA_PAGE, _DICTIONARY_PAGE, _STATISTICS = 1, 3, 7, 9, 11, 12
_ELSEWHERE = frozenset({10, 14, 15})
"""An index page and Bloom filters, which lie outside of the pages."""
_MAX_VALUE, _MIN_VALUE = 5, 6
_ELEMENT_NAME, _ELEMENT_CONVERTED = 4, 6

_KEPT = 64
"""Footers of which the parsed form stays in memory: some tens of kilobytes each."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The least and the greatest value of a column in a row group.

    Both as the file writes them, by the physical type.
    """

    type: int
    low: bytes
    high: bytes


@dataclass(frozen=True, slots=True)
class RowGroup:
    """A row group: its rows, where it lies, and the bounds of columns that have any."""

    rows: int
    range: Range
    bounds: Mapping[str, Bounds]
    described: Value


@dataclass(frozen=True, slots=True)
class Footer:
    """A parsed footer. `converted` has the converted types of the columns by their names."""

    described: Value
    number_of_rows: Value
    list_of_groups: Value
    row_groups: tuple[RowGroup, ...]
    converted: Mapping[str, int]

    def write(self, moved: Iterable[tuple[int, int]]) -> bytes:
        """Write a footer of some row groups, each with the bytes by which it moves."""
        chosen = [(self.row_groups[number], offset) for number, offset in moved]
        groups = [_move(group, ordinal, offset) for ordinal, (group, offset) in enumerate(chosen)]
        rows = sum(group.rows for group, _ in chosen)
        written = splice(
            self.described,
            [(self.number_of_rows, write_number(rows)), (self.list_of_groups, write_structs(groups))],
        )
        return written + len(written).to_bytes(4, "little") + MAGIC


def measure_footer(end: bytes) -> int:
    """Return how many bytes a file's footer has, by the last of them; 0 without one."""
    if len(end) < TRAILER_BYTES or end[-4:] != MAGIC:
        return 0
    return int.from_bytes(end[-TRAILER_BYTES:-4], "little") + TRAILER_BYTES


@lru_cache(maxsize=_KEPT)
def parse_footer(footer: bytes) -> Footer:
    """Parse a footer, trailer included. MalformedThrift for one that can't be cut."""
    described = read_struct(footer)
    fields = described.fields
    if described.end != len(footer) - TRAILER_BYTES or _ENCRYPTION & fields.keys():
        raise MalformedThrift("no plain footer")
    try:
        elements = [element.fields for element in fields[_SCHEMA].elements]
        converted = {
            element[_ELEMENT_NAME].content.decode(): element[_ELEMENT_CONVERTED].number
            for element in elements
            if _ELEMENT_CONVERTED in element
        }
        groups = tuple(map(_parse_group, fields[_ROW_GROUPS].elements))
        if sum(group.rows for group in groups) != fields[_NUM_ROWS].number:
            raise MalformedThrift("other rows than its row groups have")
    except (KeyError, UnicodeDecodeError) as error:
        raise MalformedThrift("a field is missing") from error
    listed = fields[_ROW_GROUPS].shallow
    return Footer(described.shallow, fields[_NUM_ROWS], listed, groups, converted)


def _parse_group(described: Value) -> RowGroup:
    fields = described.fields
    bounds: dict[str, Bounds] = {}
    starts, ends = [], []
    for chunk in fields[_GROUP_COLUMNS].elements:
        meta = _read_meta(chunk)
        start, size = _find_start(meta), meta[_COMPRESSED].number
        starts.append(start)
        ends.append(start + size)
        if _STATISTICS in meta:
            found = meta[_STATISTICS].fields
            if _MIN_VALUE in found and _MAX_VALUE in found:
                name = ".".join(part.content.decode() for part in meta[_PATH].elements)
                bounds[name] = Bounds(meta[_TYPE].number, found[_MIN_VALUE].content, found[_MAX_VALUE].content)
    return RowGroup(fields[_GROUP_ROWS].number, Range(min(starts), max(ends)), bounds, described.shallow)


def _read_meta(chunk: Value) -> Mapping[int, Value]:
    fields = chunk.fields
    if fields.keys() - _CHUNK_FIELDS:
        raise MalformedThrift("a column whose parts lie elsewhere")
    meta = fields[_CHUNK_META].fields
    if meta.keys() & _ELSEWHERE:
        raise MalformedThrift("a column whose parts lie elsewhere")
    return meta


def _find_start(meta: Mapping[int, Value]) -> int:
    """Find where a column's pages begin: with its dictionary where it has one."""
    data = meta[_DATA_PAGE].number
    dictionary = meta[_DICTIONARY_PAGE].number if _DICTIONARY_PAGE in meta else 0
    return min(data, dictionary) if dictionary else data


def _move(group: RowGroup, ordinal: int, offset: int) -> bytes:
    """Write a row group's description for another place in another file."""
    described = read_struct(group.described.buffer, group.described.start)
    fields = described.fields
    places = [fields[_GROUP_OFFSET]] if _GROUP_OFFSET in fields else []
    for chunk in fields[_GROUP_COLUMNS].elements:
        found = chunk.fields
        places.append(found[_CHUNK_OFFSET])
        meta = found[_CHUNK_META].fields
        places += [meta[id_] for id_ in (_DATA_PAGE, _DICTIONARY_PAGE) if id_ in meta]
    changes = [(place, write_number(place.number + offset)) for place in places if place.number]
    if _GROUP_ORDINAL in fields:
        changes.append((fields[_GROUP_ORDINAL], write_number(ordinal)))
    return splice(described, changes)
