"""Finished report files: names, publication of a draft, and the record of a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reelport import killpoints
from reelport.engine.duckdb.csv_sink import Written
from reelport.server.settings import Settings
from reelport.storage.durable import sync_file, sync_folder


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What the state records about a finished file: its name under `files`, and what it holds."""

    name: str
    rows: int
    bytes: int
    sha256: str


def draft_path(settings: Settings, report_id: str, attempt: int) -> Path:
    """The path that an attempt writes to. Each attempt has its own, so a stalled one can't touch a later one's file."""
    return settings.files_root / f"{report_id}-{attempt}.part"


def file_path(settings: Settings, name: str) -> Path:
    """The path of a finished file."""
    return settings.files_root / name


def publish_draft(draft: Path, written: Written) -> FileRecord:
    """Make a written draft durable, then give it its final name.

    A file with a final name is complete, and stays so through a crash.
    """
    killpoints.reach("write")
    final = draft.with_suffix(".csv")
    sync_file(draft)
    killpoints.reach("fsync")
    draft.rename(final)
    sync_folder(final.parent)
    killpoints.reach("rename")
    return FileRecord(final.name, written.rows, written.bytes, written.sha256)
