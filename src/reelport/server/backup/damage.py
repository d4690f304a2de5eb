"""Describes what of a backup is damaged, and which other backups need none of that."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import date

from reelport.errors import ReelportError
from reelport.facts.log.log_files import LOG_FOLDER
from reelport.facts.tables import TABLES
from reelport.server.backup.archive import FACTS, Archive, BackedUpFile, Manifest, Stored
from reelport.wording import format_count, format_days

_SHOWN = 3
_Days = Mapping[str, tuple[date, date]]
"""The first and the last day of data files, by the name that a backup has of them."""


def list_needed(manifest: Manifest, *, without_damaged: bool) -> frozenset[Stored]:
    """List the objects without which a restore is refused.

    Finished reports are not among them. With `without_damaged` neither are data files of facts, which can be loaded
    anew; other tables are changed row by row.
    """
    files = [file for file in manifest.files if file.store == FACTS]
    if without_damaged:
        facts = {name for name, table in TABLES.items() if table.is_fact}
        files = [file for file in files if _is_of_log(file) or _name_table(file) not in facts]
    return frozenset({manifest.state, *(file.content for file in files)})


def describe_damage(archive: Archive, manifest: Manifest, damaged: Collection[Stored]) -> str:
    """Say which objects of a backup are damaged or missing, what is in them, and what to do."""
    count = format_count(len(damaged), "object of the backup is", "objects of the backup are")
    files = [file for file in manifest.files if file.store == FACTS and file.content in damaged]
    named = [(manifest.state, "the state")] if manifest.state in damaged else []
    named += zip((file.content for file in files), name_days(archive, manifest, files), strict=True)
    lines = [f"{archive.locate(content)}: {what}" for content, what in named]
    return "\n".join([f"{count} damaged or missing in {archive.root}:", *lines, _advise(archive, manifest, damaged)])


def list_some(names: list[str]) -> str:
    """List the first few names, and how many more there are."""
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {format_count(len(names) - _SHOWN, 'more file')}"


def _advise(archive: Archive, manifest: Manifest, damaged: Collection[Stored]) -> str:
    ways = ["put them back from another copy of the archive"]
    others, spared = [id_ for id_ in archive.list_ids() if id_ != manifest.id], []
    for id_ in others:
        with suppress(ReelportError):  # what can't be read is no way out
            if archive.read(id_).contents.isdisjoint(damaged):
                spared.append(id_)
    if spared:
        ways.insert(0, f"restore one of the backups that need none of them (--id): {', '.join(spared)}")
    if list_needed(manifest, without_damaged=True).isdisjoint(damaged):
        ways.append("restore without them (--without-damaged) and load their days anew")
    shared = "Every other backup of the archive needs one of them, too.\n" if others and not spared else ""
    return f"{shared}What you can do: {'; or '.join(ways)}."


def name_days(archive: Archive, manifest: Manifest, files: Collection[BackedUpFile]) -> list[str]:
    """Name for each file of the tables its table and its days, or the log."""
    days = {table: _read_days(archive, manifest, table) for table in {_name_table(file) for file in files}}
    named = []
    for file in files:
        table = _name_table(file)
        known = days[table].get(file.name)
        named.append(
            f"the log of {table}" if _is_of_log(file) else f"{table} of {format_days(*known)}" if known else table
        )
    return named


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
                        stats = json.loads(added["stats"])
                        first, last = (stats[bound][time] for bound in ("minValues", "maxValues"))
                        days = (date.fromisoformat(first[:10]), date.fromisoformat(last[:10]))
                        found[f"{table}/{added['path']}"] = days
    return found
