"""Records in a data directory which database holds its state.

So a state that is missing is never made anew. The record is written once the state is committed, and changed only for
a state whose secret is at hand: a command with the address of another service's changes nothing. A directory without a
record is known by the files of reports, which only a service with a state leaves in it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from reelport.errors import StorageError
from reelport.server.database_address import describe_place, parse_address
from reelport.server.settings import Settings
from reelport.storage.durable import give_to_owner, translate_io_errors
from reelport.storage.file_store import read_file
from reelport.storage.local_folder import LocalFolder

NAME = "state.database"
"""The file that says which database holds the state: `sqlite`, or `postgresql` and where that is."""
_REPORT_FILE = re.compile(r"[0-9a-z]+-[0-9]+(\.[a-z]+)+")
"""The name of a report's file, as `files/report_files` gives it: its id, its attempt, its format."""
_SQLITE, _POSTGRESQL = "sqlite", "postgresql"


def find_traces(settings: Settings) -> tuple[Path, ...]:
    """List what tells that the data directory had a state; nothing where it had none.

    Whoever wants to know whether it is missing asks this before looking for the state: another process that begins
    at the same time makes the state first, and these afterwards.
    """
    found = []
    with translate_io_errors(settings.data):
        if (settings.data / NAME).exists():
            found.append(settings.data / NAME)
        if settings.database_url and settings.state_file.exists():
            found.append(settings.state_file)
        # Not a secret: it may lie ready for a first start. Nor other files: the folder may be a disk of its own.
        with suppress(PermissionError, NotADirectoryError, FileNotFoundError):
            if any(_REPORT_FILE.fullmatch(path.name) for path in settings.files_root.iterdir()):
                found.append(settings.files_root)
    return tuple(found)


def describe_missing(settings: Settings, traces: Sequence[Path]) -> str | None:
    """Describe a state that is missing, if that is known without opening it; else None."""
    if settings.database_url:
        return None
    held = _describe_recorded(settings)
    if held is not None:
        older = f" {settings.state_file} is an older one." if settings.state_file.exists() else ""
        return _compose(f"is in {held}, and REELPORT_DATABASE_URL isn't set.{older}", traces)
    if settings.state_file.exists():
        return None
    return _compose(f"is missing: {settings.state_file} isn't there.", traces) if traces else None


def describe_empty(settings: Settings, traces: Sequence[Path]) -> str | None:
    """Describe an empty database where the data directory had a state; else None."""
    if not traces:
        return None
    if not settings.database_url:
        return _compose(f"is missing: {settings.state_file} is empty.", traces)
    before = _describe_recorded(settings)
    held = f", and it was in {before}" if before else f", and {settings.data.absolute()} had one"
    return _compose(f"is missing: the database of REELPORT_DATABASE_URL holds none{held}.", traces)


def _describe_recorded(settings: Settings) -> str | None:
    kind, _, where = (_read(settings.data) or _SQLITE).partition(" ")
    return f"PostgreSQL {where}" if kind == _POSTGRESQL else None


def _compose(what: str, traces: Sequence[Path]) -> str:
    left = ", ".join(str(path.absolute()) for path in traces)
    return (
        f"The state of organizations, keys and reports {what} Nothing was changed. If it is in PostgreSQL, set "
        "REELPORT_DATABASE_URL to that database, for commands by hand too. Else bring state.db back, restore a backup "
        "into a new directory, or copy the state to where it should be (`reelport state copy`). To begin without any "
        f"organization, key and report, move this away first: {left}."
    )


def record_state(settings: Settings, *, is_new: bool, is_proven: bool = False) -> None:
    """Record which database holds the state, if nothing is recorded.

    Another record is replaced for a state that is made just now, or `is_proven` by its secret. StorageError when
    the record of a new state can't be written. An older one may be read where nothing can be written.
    """
    place = settings.database_url and describe_place(parse_address(settings.database_url))
    found, recorded = f"{_POSTGRESQL} {place}" if place else _SQLITE, _read(settings.data)
    if recorded == found or (recorded is not None and not (is_new or is_proven)):
        return
    try:
        LocalFolder(settings.data).put(NAME, f"{found}\n".encode())
    except StorageError:
        if is_new:
            raise
        return
    give_to_owner(settings.data / NAME)


def _read(data: Path) -> str | None:
    store = LocalFolder(data)
    return None if store.find(NAME) is None else read_file(store, NAME).decode("utf-8", "replace").strip()
