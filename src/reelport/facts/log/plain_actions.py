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
_FILE = {"path": str, "partitionValues": dict, "size": int, "dataChange": bool}
_SHAPES: Mapping[str, Mapping[str, type]] = {
    "add": {**_FILE, "modificationTime": int, "stats": str},
    "remove": {**_FILE, "deletionTimestamp": int, "extendedFileMetadata": bool},
    "metaData": {
        **dict.fromkeys(("id", "name", "description", "schemaString"), str),
        "format": dict,
        "partitionColumns": list,
        "createdTime": int,
        "configuration": dict,
    },
    "protocol": {"minReaderVersion": int, "minWriterVersion": int},
    "txn": {"appId": str, "version": int},
}
"""What actions say, and of which types. Information of commits may be anything: it says nothing of files."""
_STATISTICS = frozenset({"numRecords", "minValues", "maxValues", "nullCount"})
_CONFIGURATION = frozenset({"delta.enableExpiredLogCleanup"})
_FIELD = {"name": str, "type": object, "nullable": bool, "metadata": dict}
_COLUMN = re.compile(r"string|long|date|timestamp|decimal\(18,6\)")
_TEXTS = {"type": "array", "elementType": "string", "containsNull": True}
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
    """Parse JSON in which each name stands once, as whoever reads it must agree on its value.

    Half of a pair of UTF-16, which JSON can escape, is refused anywhere in it.
    """
    try:
        read = text.decode() if isinstance(text, bytes) else text
        found = json.loads(read, object_pairs_hook=_make_object, parse_constant=_refuse)
        if "\\u" in read:
            json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise UnusualLog(f"JSON that can't be read: {error}") from error
    return found


def parse_action(action: object) -> tuple[str, dict[str, Any]]:
    """Parse the kind of an action and what it says."""
    match action:
        case {"commitInfo": {}, **more} if not more:
            return "commitInfo", {}
        case {**fields} if len(fields) == 1:
            ((kind, value),) = fields.items()
            if isinstance(kind, str) and kind in _SHAPES and isinstance(value, dict):
                return kind, _require_shape(value, _SHAPES[kind])
    raise UnusualLog("an action that Reelport doesn't write")


def parse_path(change: Mapping[str, Any], table: Table) -> str:
    """Parse the path, below the table's folder, of a file that is added or removed."""
    _parse_month(change["partitionValues"], table)
    if not _PATH.fullmatch(change["path"]):
        raise UnusualLog(f"{change['path']!r} is no plain path")
    return str(change["path"])


def parse_file(add: Mapping[str, Any], table: Table) -> DataFile:
    """Parse the file that an action adds to the table."""
    statistics = _parse_statistics(add["stats"])
    low, high = (_parse_bounds(statistics.get(end), table) for end in ("minValues", "maxValues"))
    return DataFile(
        path=parse_path(add, table),
        size=_require_count(add["size"]),
        rows=_require_count(statistics.get("numRecords")),
        month=_parse_month(add["partitionValues"], table),
        first=low[0],
        last=high[0],
        low_owner=low[1],
        high_owner=high[1],
    )


def require_plain_metadata(metadata: Mapping[str, Any] | None, table: Table) -> None:
    """Refuse metadata under which the table's files may have to be read in another way."""
    match metadata:
        case {
            "format": {"provider": "parquet", "options": {**options}},
            "partitionColumns": columns,
            "configuration": {**configured},
            "schemaString": schema,
        } if not options and columns == partition_columns(table) and _is_plain_configuration(configured):
            types = _parse_schema(parse_json(schema))
        case _:
            raise UnusualLog("metadata that Reelport doesn't write")
    if table.time is not None and (types.get(table.time), types.get(OWNER)) != (_TYPES[_TIMES[table.name]], "string"):
        raise UnusualLog("a schema that Reelport doesn't write")


def require_plain_protocol(protocol: Mapping[str, Any] | None) -> None:
    """Refuse a protocol that asks for more than the first readers and writers knew."""
    if protocol != {"minReaderVersion": READER_VERSION, "minWriterVersion": WRITER_VERSION}:
        raise UnusualLog("a protocol that Reelport doesn't write")


def _make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name stands twice")
    return made


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _require_shape(action: Mapping[str, Any], shape: Mapping[str, type]) -> dict[str, Any]:
    """Return what an action says: all that its shape has, and nothing else."""
    told = {name: value for name, value in action.items() if value is not None}
    if told.keys() != shape.keys() or not all(_is_plain(told[name], wanted) for name, wanted in shape.items()):
        raise UnusualLog(f"an action of another shape: {', '.join(told)}")
    return told


def _is_plain(value: object, wanted: type) -> bool:
    """Whether the value is of this type, and every reader takes it for the same."""
    match value:
        case str():
            return wanted in {str, object}
        case int() if wanted is int:
            return type(value) is int and -_MOST <= value < _MOST
    return wanted is object or type(value) is wanted


def _is_plain_configuration(configured: Mapping[Any, object]) -> bool:
    return _CONFIGURATION.issuperset(configured) and all(value in ("true", "false") for value in configured.values())


def _parse_statistics(text: str) -> dict[str, Any]:
    found = parse_json(text)
    if not isinstance(found, dict):
        raise UnusualLog("a file without statistics")
    nulls = found.get("nullCount", {})
    if not isinstance(nulls, dict):
        raise UnusualLog("statistics that Reelport doesn't write")
    for count in nulls.values():
        _require_count(count)
    if not _STATISTICS.issuperset(found):
        raise UnusualLog("statistics that Reelport doesn't write")
    return found


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
    if text is None or isinstance(text, str):
        return text
    raise UnusualLog(f"{text!r} is no channel")


def _parse_month(values: Mapping[str, object], table: Table) -> str | None:
    month = values.get(MONTH)
    if list(values) != partition_columns(table) or not (month is None or isinstance(month, str)):
        raise UnusualLog("partitions that Reelport doesn't write")
    if table.is_fact and not _PATH.fullmatch(month or ""):
        raise UnusualLog(f"{month!r} is no month")
    return month


def _require_count(value: object) -> int:
    if type(value) is int and 0 <= value < _MOST:
        return value
    raise UnusualLog(f"{value!r} is no count")


def _parse_schema(schema: object) -> dict[str, object]:
    """Parse the types, by name, of a schema's columns whose statistics are looked at."""
    match schema:
        case {"type": "struct", "fields": [*fields], **more} if not more:
            types = dict(map(_parse_field, fields))
            if len(types) == len(fields):
                return dict(list(types.items())[:_INDEXED])
    raise UnusualLog("a schema that Reelport doesn't write")


def _parse_field(field: object) -> tuple[str, object]:
    told = _require_shape(field, _FIELD) if isinstance(field, dict) else {}
    match told:
        case {"metadata": {**more}, "name": str(name), "type": str(kind)} if not more and _COLUMN.fullmatch(kind):
            return name, kind
        case {"metadata": {**more}, "name": str(name), "type": dict(kind)} if not more and kind == _TEXTS:
            return name, kind
    raise UnusualLog("a column that Reelport doesn't write")
