"""Describes what of a backup is damaged, and which other backups need none of that."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from datetime import date
from typing import Any

from reelport.errors import ReelportError
from reelport.facts.log.log_files import LOG_FOLDER
from reelport.facts.tables import TABLES
from reelport.server.backup.archive import FACTS, Archive, BackedUpFile, Manifest, Stored
from reelport.wording import format_count, format_days

_SHOWN = 3
_Days = Mapping[str, tuple[date, date]]
"""The first and the last day of data files, by the name that a backup has of them."""


def is_needed(file: BackedUpFile, *, without_damaged: bool) -> bool:
    """Whether a restore is refused where this file is damaged.

    Finished reports are left out. With `without_damaged` so are data files of facts, which can be loaded anew; other
    tables are changed row by row.
    """
    if file.store != FACTS:
        return False
    table = TABLES.get(_name_table(file))
    return not without_damaged or _is_of_log(file) or table is None or not table.is_fact


def describe_damage(archive: Archive, manifest: Manifest, damaged: Collection[Stored]) -> str:
    """Say which objects of a backup are damaged or missing, what is in them, and what to do."""
    count = format_count(len(damaged), "object of the backup is", "objects of the backup are")
    lines = [f"{archive.locate(content)}: {what}" for content, what in _describe_contents(archive, manifest, damaged)]
    return "\n".join([f"{count} damaged or missing in {archive.root}:", *lines, _advise(archive, manifest, damaged)])


def list_some(names: list[str]) -> str:
    """List the first few names, and how many more there are."""
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {format_count(len(names) - _SHOWN, 'more file')}"


def _advise(archive: Archive, manifest: Manifest, damaged: Collection[Stored]) -> str:
    ways = ["put them back from another copy of the archive"]
    others = [id_ for id_ in archive.list_ids() if id_ != manifest.id]
    if spared := [id_ for id_ in others if _needs_none(archive, id_, damaged)]:
        ways.insert(0, f"restore one of the backups that need none of them (--id): {', '.join(spared)}")
    needed = {manifest.state, *(file.content for file in manifest.files if is_needed(file, without_damaged=True))}
    if needed.isdisjoint(damaged):
        ways.append("restore without them (--without-damaged) and load their days anew")
    shared = "Every other backup of the archive needs one of them, too.\n" if others and not spared else ""
    return f"{shared}What you can do: {'; or '.join(ways)}."


def _needs_none(archive: Archive, id_: str, damaged: Collection[Stored]) -> bool:
    try:
        return archive.read(id_).contents.isdisjoint(damaged)
    except ReelportError:
        return False


def _describe_contents(
    archive: Archive, manifest: Manifest, damaged: Collection[Stored]
) -> Iterator[tuple[Stored, str]]:
    """Say what each object holds: the state, a part of a table's log, or days of a table."""
    if manifest.state in damaged:
        yield manifest.state, "the state"
    files = [file for file in manifest.files if file.store == FACTS and file.content in damaged]
    yield from ((file.content, what) for file, what in zip(files, name_days(archive, manifest, files), strict=True))


def name_days(archive: Archive, manifest: Manifest, files: Collection[BackedUpFile]) -> list[str]:
    """Name for each file of the tables its table and its days, or the log."""
    days = {table: _read_days(archive, manifest, table) for table in {_name_table(file) for file in files}}
    return [_describe_file(file, days[_name_table(file)]) for file in files]


def _describe_file(file: BackedUpFile, days: _Days) -> str:
    if _is_of_log(file):
        return f"the log of {_name_table(file)}"
    if file.name in days:
        return f"{_name_table(file)} of {format_days(*days[file.name])}"
    return _name_table(file)


def _is_of_log(file: BackedUpFile) -> bool:
    return f"/{LOG_FOLDER}/" in file.name


def _name_table(file: BackedUpFile) -> str:
    return file.name.partition("/")[0]


def _read_days(archive: Archive, manifest: Manifest, table: str) -> _Days:
    """Read the days of a table's data files off its log in the archive, where it can be read."""
    time = TABLES[table].time if table in TABLES else None
    found = {}
    for file in manifest.files if time is not None else ():
        if file.store == FACTS and file.name.startswith(f"{table}/{LOG_FOLDER}/"):
            with suppress(OSError, UnicodeDecodeError):
                for line in archive.locate(file.content).read_bytes().decode().split("\n"):
                    with suppress(ValueError, KeyError, TypeError):
                        added = json.loads(line)["add"]
                        found[f"{table}/{added['path']}"] = _parse_days(added, time)
    return found


def _parse_days(added: Mapping[str, Any], time: str | None) -> tuple[date, date]:
    bounds = json.loads(added["stats"])
    return _parse_day(bounds["minValues"][time]), _parse_day(bounds["maxValues"][time])


def _parse_day(text: str) -> date:
    return date.fromisoformat(text[:10])
