"""Parses actions of a Delta log as Reelport writes them, and refuses all others.

What is accepted here is exactly what the Delta library was seen to read in the same way (`tests/facts/log`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from reelport.facts.log.data_file import DataFile
from reelport.facts.schema import MONTH, OWNER, partition_columns
from reelport.facts.tables import TABLES, Kind, Table

READER_VERSION = 1
WRITER_VERSION = 2
_ADD_FIELDS = frozenset({"path", "partitionValues", "size", "modificationTime", "dataChange", "stats"})
_STATISTICS = frozenset({"numRecords", "minValues", "maxValues", "nullCount"})
_CONFIGURATION = frozenset({"delta.enableExpiredLogCleanup"})
_PROTOCOL = frozenset({"minReaderVersion", "minWriterVersion"})
_INDEXED = 32
"""The first columns of a schema, whose statistics readers of a table look at."""
_MOST = 2**63
_PATH = re.compile(r"[A-Za-z0-9_=-][A-Za-z0-9_.=-]*(/[A-Za-z0-9_=-][A-Za-z0-9_.=-]*)*")
"""Paths that mean the same whether they are read as a name or as a URI."""
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_MOMENT = re.compile(_DAY.pattern + r"T([01]\d|2[0-3]):\d\d:\d\d\.\d{6}Z", re.ASCII)
_TIMES = {table.name: table.column(table.time).kind for table in TABLES.values() if table.time is not None}
"""The kind of the time of each table of facts."""
_TYPES = {Kind.MOMENT: "timestamp", Kind.DAY: "date"}


class UnusualLog(Exception):
    """A log has what Reelport doesn't write: only the Delta library is sure to read it right."""


def parse_json(text: str | bytes) -> Any:  # noqa: ANN401 - whatever it is
    """Parse JSON in which each name stands once, as whoever reads it must agree on its value."""
    try:
        return json.loads(text, object_pairs_hook=_make_object, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise UnusualLog(f"JSON that can't be read: {error}") from error


def parse_path(action: Mapping[str, Any]) -> str:
    """Parse the path of an add or a remove, below the table's folder."""
    path = action.get("path")
    if not isinstance(path, str) or not _PATH.fullmatch(path) or action.get("deletionVector") is not None:
        raise UnusualLog(f"{path!r} is no plain path of a whole file")
    return path


def parse_file(add: Mapping[str, Any], table: Table) -> DataFile:
    """Parse the file that an action adds to the table."""
    _require_known(add, _ADD_FIELDS)
    statistics = _parse_statistics(add.get("stats"))
    low, high = (_parse_bounds(statistics.get(end), table) for end in ("minValues", "maxValues"))
    return DataFile(
        path=parse_path(add),
        size=_require_count(add.get("size")),
        rows=_require_count(statistics.get("numRecords")),
        month=_parse_month(add.get("partitionValues"), table),
        first=low[0],
        last=high[0],
        low_owner=low[1],
        high_owner=high[1],
    )


def require_plain_metadata(metadata: Mapping[str, Any] | None, table: Table) -> None:
    """Refuse metadata under which the table's files may have to be read in another way."""
    match metadata:
        case {
            "format": {"provider": "parquet"},
            "partitionColumns": columns,
            "configuration": {**configured},
            "schemaString": str(schema),
        } if columns == partition_columns(table) and _CONFIGURATION.issuperset(configured):
            pass
        case _:
            raise UnusualLog("metadata that Reelport doesn't write")
    if table.time is None:
        return
    types = _list_types(parse_json(schema))
    if types.get(table.time) != _TYPES[_TIMES[table.name]] or types.get(OWNER) != "string":
        raise UnusualLog("a schema that Reelport doesn't write")


def require_plain_protocol(protocol: Mapping[str, Any] | None) -> None:
    """Refuse a protocol that asks for more than the first readers and writers knew."""
    told = {} if protocol is None else _require_known(protocol, _PROTOCOL)
    if told != {"minReaderVersion": READER_VERSION, "minWriterVersion": WRITER_VERSION}:
        raise UnusualLog("a protocol that Reelport doesn't write")


def _make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name stands twice")
    return made


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _require_known(action: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """Return what an action says. UnusualLog when it says more than is known."""
    told = {name: value for name, value in action.items() if value is not None}
    if not known.issuperset(told):
        raise UnusualLog(f"an action says {', '.join(sorted(told.keys() - known))}")
    return told


def _parse_statistics(text: object) -> dict[str, Any]:
    found = parse_json(text) if isinstance(text, str) else None
    if not isinstance(found, dict):
        raise UnusualLog("a file without statistics")
    nulls = found.get("nullCount", {})
    if not isinstance(nulls, dict):
        raise UnusualLog("statistics that Reelport doesn't write")
    for count in nulls.values():
        _require_count(count)
    return _require_known(found, _STATISTICS)


def _parse_bounds(values: object, table: Table) -> tuple[datetime | date | None, str | None]:
    """Parse the time and the owner that statistics give for one end of a file's rows."""
    if values is None:
        return None, None
    if not isinstance(values, dict) or table.time is None or not {table.time, OWNER}.issuperset(values):
        raise UnusualLog("statistics that Reelport doesn't write")
    return _parse_time(values.get(table.time), _TIMES[table.name]), _parse_owner(values.get(OWNER))


def _parse_time(text: object, kind: Kind) -> datetime | date | None:
    try:
        match text:
            case None:
                return None
            case str() if kind is Kind.MOMENT and _MOMENT.fullmatch(text):
                return datetime.fromisoformat(text)
            case str() if kind is Kind.DAY and _DAY.fullmatch(text):
                return date.fromisoformat(text)
    except ValueError as error:  # a thirteenth month
        raise UnusualLog(str(error)) from error
    raise UnusualLog(f"{text!r} is no {kind}")


def _parse_owner(text: object) -> str | None:
    if text is None or (isinstance(text, str) and (text.isascii() or _is_unicode(text))):
        return text
    raise UnusualLog(f"{text!r} is no channel")


def _is_unicode(text: str) -> bool:
    """Whether the text has no half of a pair of UTF-16, which JSON can escape."""
    return not any("\ud800" <= sign <= "\udfff" for sign in text)


def _parse_month(values: object, table: Table) -> str | None:
    if not isinstance(values, dict) or list(values) != partition_columns(table):
        raise UnusualLog("partitions that Reelport doesn't write")
    month = values.get(MONTH)
    if table.is_fact and not (isinstance(month, str) and _PATH.fullmatch(month)):
        raise UnusualLog(f"{month!r} is no month")
    return month


def _require_count(value: object) -> int:
    if type(value) is int and 0 <= value < _MOST:
        return value
    raise UnusualLog(f"{value!r} is no count")


def _list_types(schema: object) -> dict[str, object]:
    """List the types of a schema's first columns by name, but of those that are told more of."""
    match schema:
        case {"fields": [*fields]}:
            return dict(map(_parse_field, fields[:_INDEXED]))
    raise UnusualLog("a schema without fields")


def _parse_field(field: object) -> tuple[str, object]:
    match field:
        case {"name": str(name), "type": type_, "metadata": {**more}} if not more:
            return name, type_
    raise UnusualLog("a column that Reelport doesn't write")
