"""The file of rows that a load could not take: file, line, reason, and the raw row as JSON."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import IO

from reelport.facts.checking import OUTPUT
from reelport.facts.durable import storage_errors, sync_file, sync_folder

HEADER = ("file", "line", "reason", "raw")
SHOWN = 3


class Rejects:
    """Counts bad rows and writes them; the file appears only when `finish` is called and there are any.

    Without a path they are only counted. Safe to use from several threads.
    """

    def __init__(self, path: Path | None, names: Sequence[str]) -> None:
        self.path = path
        self.count = 0
        self.first: list[str] = []
        self._names = names
        self._part = path.with_name(f"{path.name}.{os.getpid()}.part") if path else None
        self._file: IO[str] | None = None
        self._lock = Lock()

    def text(self, file: int, line: int, reason: str, raw: str) -> None:
        """Take a line that is no row at all."""
        self.row(file, line, reason, json.dumps(raw, ensure_ascii=False))

    def row(self, file: int | None, line: int, reason: str, raw: str) -> None:
        """Take a row, of a mapping's output when it is of no file; `raw` is its JSON."""
        name = OUTPUT if file is None else self._names[file]
        place = f"row {line} of {name}" if file is None else f"{name} line {line}"
        with self._lock:
            self._write((name, line, reason, raw))
            self.count += 1
            if len(self.first) < SHOWN:
                self.first.append(f"{place}: {reason}")

    def _write(self, row: tuple[str, int, str, str]) -> None:
        if self._part is None:
            return
        with storage_errors(self._part):
            if self._file is None:
                self._part.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._part.open("w", encoding="utf-8", errors="backslashreplace", newline="")
                csv.writer(self._file, lineterminator="\n").writerow(HEADER)
            csv.writer(self._file, lineterminator="\n").writerow(row)

    def finish(self) -> None:
        """Put the file in its place, whole and synced."""
        with self._lock:
            if self._file is None or self._part is None or self.path is None:
                return
            with storage_errors(self.path):
                self._file.close()
                sync_file(self._part)
                self._part.replace(self.path)
                sync_folder(self.path.parent)
                self._file = None

    def discard(self) -> None:
        """Leave no half file behind; does nothing after `finish`."""
        with self._lock:
            if self._file is not None and self._part is not None:
                with suppress(OSError):
                    self._file.close()
                with suppress(OSError):
                    self._part.unlink(missing_ok=True)
                self._file = None

    def summary(self, total: int) -> str:
        """How many rows were bad, the first few reasons, and where the rest is."""
        more = self.count - len(self.first)
        listed = "\n".join(f"  {line}" for line in self.first) + (f"\n  … and {more:,} more" if more else "")
        where = f" (all are in {self.path})" if self.path else ""
        return f"{self.count:,} of {total:,} rows can't be taken{where}:\n{listed}"
