"""When a run last brought a copy up to date: a time in a file beside the destination, by report."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from reelport.client.files.locks import replace_whole
from reelport.client.files.part import translate_io_errors
from reelport.errors import StorageError
from reelport.sync.spec import Spec


def record_success(spec: Spec, moment: datetime) -> None:
    """Record that a run had read all that was missing of a copy, also where that was nothing."""
    path = _path_of(spec)
    with translate_io_errors(path), replace_whole(path) as part:
        part.write_text(f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}\n", "utf-8")


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
