"""Finished report files: names, publication of a draft, and the record of a file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from reelport.engine.report_format import CSV, FORM_TYPES, FileType, Written
from reelport.server.settings import Settings

_DRAFT = ".part"
_SUFFIXES = "|".join(re.escape(suffix) for suffix in (CSV.suffix, *FORM_TYPES))
_NAME = re.compile(rf"([0-9a-z]+)-([0-9]+)({_SUFFIXES})?({re.escape(_DRAFT)})?")


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What the state records about a finished file: its name in the store, and what it holds."""

    name: str
    rows: int
    bytes: int
    sha256: str


def parse_name(name: str) -> tuple[str, int, str] | None:
    """Parse report, attempt and suffix of a file or a draft; None when it is neither.

    The suffix is empty for the report's own file: attempts at a form are counted apart.
    """
    found = _NAME.fullmatch(name)
    if found is None or not (found[3] or found[4]):
        return None
    return found[1], int(found[2]), found[3] if found[3] in FORM_TYPES else ""


def prepare_draft(settings: Settings, report_id: str, attempt: int, form: FileType = CSV) -> Path:
    """Make the path of an attempt's own draft, which no stalled attempt can touch."""
    return settings.report_store.prepare_draft(f"{form.file_name(f'{report_id}-{attempt}')}{_DRAFT}")


def publish_draft(settings: Settings, draft: Path, written: Written) -> FileRecord:
    """Make a draft durable, then give it its final name: what has one is complete."""
    name = draft.name.removesuffix(_DRAFT)
    settings.report_store.put_draft(draft, name)
    return FileRecord(name, written.rows, written.bytes, written.sha256)
