"""Destinations: what both kinds can do, the one for a place, its lock and notes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Protocol

from reelport.client.files.download_target import translate_io_errors
from reelport.client.files.locks import replace_whole, try_lock
from reelport.errors import StorageError, UsageError
from reelport.sync.contract import View
from reelport.sync.duckdb_file import DuckDBFile
from reelport.sync.events import Loaded
from reelport.sync.parquet_folder import ParquetFolder
from reelport.sync.spec import Days, Kind, Place, Spec
from reelport.sync.staging import Delivery
from reelport.sync.verified_days import State
from reelport.wire import format_utc

# The holder's process id is in a second file: on Windows no other process can read a locked one.
_LOCK, _HOLDER = "lock", "holder"


class Destination(Protocol):
    """Where copies are kept. A reader sees one before or after a replaced window."""

    def state(self, spec: Spec) -> State:
        """Return a copy's state, as far as its rows confirm it; the empty one without it."""

    def replace(self, spec: Spec, delivery: Delivery, *, allow_empty: bool = False) -> Loaded:
        """Replace all rows of the delivery's window and add its days to the state, atomically.

        Changes nothing where it raises: SchemaDrift by the contract, WindowEmptied when the window had rows and would
        have none (unless `allow_empty`), StorageError.
        """

    def unverify(self, spec: Spec, days: Days | None = None) -> None:
        """Mark a spec's days, or all, as unverified: they are read again. Rows stay."""

    def view(self, spec: Spec) -> AbstractContextManager[View | None]:
        """Open the copy of a spec for reading; gives None while there is none."""


def open_destination(place: Place) -> Destination:
    """Return the destination at a place. It creates and opens nothing before its first use."""
    match place.kind:
        case Kind.DUCKDB:
            return DuckDBFile(place)
        case Kind.PARQUET:
            return ParquetFolder(place)


@contextmanager
def lock_destination(place: Place) -> Iterator[Path]:
    """Lock a destination's work folder. UsageError names the process that has it."""
    workshop = place.work_folder
    with translate_io_errors(place.path):
        workshop.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(workshop / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not try_lock(descriptor):
            other = _read_holder(workshop / _HOLDER)
            raise UsageError(f"Another sync (process {other}) is bringing {place} up to date: wait for it, or stop it.")
        with translate_io_errors(place.path):
            (workshop / _HOLDER).write_text(f"{os.getpid()}\n", "utf-8")
        try:
            yield workshop
        finally:
            (workshop / _HOLDER).unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _read_holder(holder: Path) -> str:
    try:
        return holder.read_text("utf-8", "replace")[:20].strip() or "unknown"
    except OSError:
        return "unknown"


def record_success(spec: Spec, moment: datetime) -> None:
    """Record that a run had read all that was missing of a copy, also where that was nothing."""
    path = _path_of(spec)
    with translate_io_errors(path), replace_whole(path) as part:
        part.write_text(f"{format_utc(moment)}\n", "utf-8")


def read_success(spec: Spec) -> datetime | None:
    """Return when a run last succeeded (UTC); None where none has. StorageError if damaged."""
    path = _path_of(spec)
    with translate_io_errors(path):
        text = path.read_text("utf-8") if path.exists() else None
    try:
        return None if text is None else datetime.fromisoformat(text.strip())
    except ValueError:
        raise StorageError(f"{path} can't be read: delete it, and the next successful run writes it anew.") from None


def _path_of(spec: Spec) -> Path:
    return spec.place.work_folder / f"{spec.name}.success"
