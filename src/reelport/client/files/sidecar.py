"""The sidecar: a JSON file beside a download with its facts. Holds no secret and no link."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from reelport.query import ReportQuery
from reelport.wire import format_complete_day, format_utc

_LARGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class Sidecar:
    """A file's origin, and the proof that it is whole. Times are UTC; unknown values are None.

    `last_complete_day` is that of the facts behind the file, NO_DAY where the service says that no day is complete.
    """

    service: str
    report: str
    query: ReportQuery | None
    asked: datetime | None
    finished: datetime | None
    downloaded: datetime
    bytes: int
    sha256: str
    rows: int
    proof: str
    last_complete_day: date | None = None

    def to_json(self) -> str:
        """Format the sidecar's content."""
        content: dict[str, Any] = {"reelport": _read_version(), **asdict(self)}
        content["query"] = self.query.to_wire() if self.query else None
        day = self.last_complete_day
        content["last_complete_day"] = None if day is None else format_complete_day(day)
        for name in ("asked", "finished", "downloaded"):
            moment = content[name]
            content[name] = format_utc(moment) if moment else None
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def name_sidecar(target: Path) -> Path:
    """Return the path that a file's sidecar has: `views.csv.json`."""
    return target.with_name(f"{target.name}.json")


def find_sidecar_path(target: Path) -> Path | None:
    """Return a file's sidecar; None where another file has that name."""
    path = name_sidecar(target)
    return path if not path.exists() or read_sidecar(path) is not None else None


def read_sidecar(path: Path) -> dict[str, Any] | None:
    """Read a sidecar's content; None when the file isn't a sidecar."""
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST:
            return None
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and {"reelport", "report", "sha256"} <= content.keys() else None


def _read_version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - a tenth of the time to load

    try:
        return version("reelport")
    except PackageNotFoundError:
        return "unknown"
