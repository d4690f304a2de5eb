"""Folders of a query's windows: hidden beside a target until merged, or named and kept."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Self

from reelport.client.files.locks import LOCK, remove_folder, try_lock_folder
from reelport.client.files.part import translate_io_errors
from reelport.client.files.sidecar import read_sidecar
from reelport.client.ranges.windows import Window
from reelport.errors import QueryRefused, UsageError
from reelport.local_path import refuse_address
from reelport.query import ReportQuery

_LONGEST_NAME = 200  # most bytes of the target's name to use in the folder's name, so that it stays a valid name
_NAME = re.compile(r"(\d{4}-\d\d-\d\d)_(\d{4}-\d\d-\d\d)\.([0-9a-f]+)\.csv")


class Folder:
    """A target's folder, locked by one process at a time; a second gets a private one.

    When the run ends early, the files stay for the next run to resume, except in a private folder, which no run would
    find again; the next run removes private folders that killed processes left.
    """

    def __init__(self, path: Path, lock: int | None, digest: str, *, stays: bool) -> None:
        self.path = path
        self._digest = digest
        self._lock = lock
        self._stays = stays

    @classmethod
    def beside(cls, target: Path, digest: str) -> Self:
        """Open or make a target's folder, for windows of the query with that digest. StorageError."""
        name = target.name.encode("utf-8", "surrogateescape")[:_LONGEST_NAME].decode("utf-8", "ignore")
        path = target.with_name(f".{name}.windows")
        with translate_io_errors(path):
            _sweep(path)
            lock = try_lock_folder(path)
            if lock is not None:
                return cls(path, lock, digest, stays=True)
            path = path.with_name(f"{path.name}-{secrets.token_hex(4)}")
            return cls(path, try_lock_folder(path), digest, stays=False)

    def file(self, window: Window) -> Path:
        """Return the path of a window's file."""
        return self.path / f"{window.start}_{window.end}.{self._digest}.csv"

    def list_files(self) -> tuple[Window, ...]:
        """List the windows of the query whose files exist."""
        with translate_io_errors(self.path):
            found = [_NAME.fullmatch(path.name) for path in sorted(self.path.iterdir())]
        return tuple(window for each in found if each and each[3] == self._digest and (window := _parse_window(each)))

    def remove(self) -> None:
        """Remove the folder with everything in it."""
        if self._lock is None:
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            lock, self._lock = self._lock, None
            remove_folder(self.path, lock)

    def close(self) -> None:
        """Unlock the folder for the next process. Removes an empty or private folder."""
        with suppress(OSError):
            if not self._stays or [path.name for path in self.path.iterdir()] == [LOCK]:
                self.remove()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


@dataclass(frozen=True, slots=True)
class KeptFolder:
    """The folder in which `keep_windows` leaves the windows of a query."""

    path: Path
    query: ReportQuery

    def file(self, window: Window) -> Path:
        """Return the path of a window's file."""
        return self.path / f"{window.start}_{window.end}.csv"

    def list_files(self) -> tuple[Window, ...]:
        """List the windows of the query whose files exist, according to their sidecars."""
        with translate_io_errors(self.path):
            said = [read_sidecar(path) or {} for path in sorted(self.path.glob("*_*.csv.json"))]
        return tuple(window for each in said if (window := self._parse_window(each.get("query"))))

    def _parse_window(self, wire: object) -> Window | None:
        try:
            found = ReportQuery.from_wire(wire) if isinstance(wire, dict) else None
        except (QueryRefused, KeyError, TypeError, AttributeError):
            return None  # Not a sidecar of ours.
        ours = found is not None and found.within(self.query.start, self.query.end) == self.query
        return Window(found.start, found.end) if found is not None and ours else None


def resolve_folder(to: str | os.PathLike[str]) -> Path:
    """Return the folder to keep windows in, made if missing. UsageError for an unusable one."""
    refuse_address(to, "Windows are kept on this machine: name a folder, and copy it on from there.")
    try:
        path = Path(to).expanduser().resolve()
    except (ValueError, RuntimeError, OSError) as error:  # a NUL, a home of nobody, links in a circle
        raise UsageError(f"{str(to)[:200]!r} is no name for a folder: {error}.") from error
    with translate_io_errors(path):
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file: name a folder to keep the windows in.")
        if not path.parent.is_dir():
            raise UsageError(f"There is no folder {path.parent} to make {path.name} in.")
        path.mkdir(exist_ok=True)
    return path


def _sweep(path: Path) -> None:
    own = re.compile(re.escape(path.name) + r"-[0-9a-f]{8}")
    with suppress(OSError):
        for left in [each for each in path.parent.iterdir() if own.fullmatch(each.name)]:
            lock = try_lock_folder(left)
            if lock is not None:
                remove_folder(left, lock)


def _parse_window(name: re.Match[str]) -> Window | None:
    with suppress(ValueError):
        return Window(date.fromisoformat(name[1]), date.fromisoformat(name[2]))
    return None
