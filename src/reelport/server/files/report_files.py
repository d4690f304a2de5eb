"""Finished report files: names, publication of a draft, and the record of a file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from reelport import killpoints
from reelport.engine.duckdb.csv_sink import Written
from reelport.engine.report_format import CSV, FORMATS
from reelport.server.settings import Settings

_DRAFT = ".part"
_NAME = re.compile(rf"([0-9a-z]+)-([0-9]+)(?:{'|'.join(map(re.escape, (_DRAFT, *(one.suffix for one in FORMATS))))})")


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What the state records about a finished file: its name in the store, and what it holds."""

    name: str
    rows: int
    bytes: int
    sha256: str


def parse_name(name: str) -> tuple[str, int] | None:
    """Parse the report and the attempt that a file or a draft is of; None when it is neither."""
    found = _NAME.fullmatch(name)
    return None if found is None else (found[1], int(found[2]))


def prepare_draft(settings: Settings, report_id: str, attempt: int) -> Path:
    """Make the path of an attempt's own draft, which no stalled attempt can touch."""
    return settings.report_store.prepare_draft(f"{report_id}-{attempt}{_DRAFT}")


def publish_draft(settings: Settings, draft: Path, written: Written) -> FileRecord:
    """Make a draft durable, then give it its final name: what has one is complete."""
    killpoints.reach("write")
    name = CSV.file_name(draft.stem)
    settings.report_store.put_draft(draft, name)
    return FileRecord(name, written.rows, written.bytes, written.sha256)
