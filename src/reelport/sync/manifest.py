"""Manifest of one version of a Parquet copy: its files by day, its columns, its state."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Self

from reelport.client.files.part import translate_io_errors
from reelport.errors import NewerData, StorageError
from reelport.sync.columns import Field
from reelport.sync.copy_state import State
from reelport.sync.durable_files import fsync_path

NAME = "manifest.json"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class DataFile:
    """A Parquet file of a version. All of its rows are of one day (for months, the first)."""

    name: str
    day: date
    rows: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """A copy's version, complete once written, never changed. `time`: its days' column."""

    spec: str
    time: str
    state: State
    fields: tuple[Field, ...]
    files: tuple[DataFile, ...]

    def write(self, folder: Path) -> None:
        """Write the manifest into the folder of its version, durably."""
        content = {
            "format": _FORMAT,
            "spec": self.spec,
            "time": self.time,
            "columns": {field.name: field.type for field in self.fields},
            "files": [{"name": file.name, "day": file.day.isoformat(), "rows": file.rows} for file in self.files],
            "state": json.loads(self.state.to_json()),
        }
        (folder / NAME).write_text(json.dumps(content, indent=1) + "\n", "utf-8")
        fsync_path(folder / NAME)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read a manifest. NewerData for a newer format, StorageError for a damaged file."""
        path = folder / NAME
        with translate_io_errors(path):
            text = path.read_text("utf-8")
        try:
            found = json.loads(text)
            if found["format"] > _FORMAT:
                raise NewerData(f"{path} was written by a newer version of reelport: use that one.")
            fields = tuple(Field(name, kind) for name, kind in found["columns"].items())
            files = tuple(
                DataFile(str(file["name"]), date.fromisoformat(file["day"]), int(file["rows"]))
                for file in found["files"]
            )
            return cls(
                str(found["spec"]), str(found["time"]), State.from_json(json.dumps(found["state"])), fields, files
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StorageError(f"{path} can't be read ({error}): was it changed by hand?") from None
