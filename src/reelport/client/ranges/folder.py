"""The hidden folder beside a target in which the windows' files are kept until the merged file stands."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Self

from reelport.client.files.locks import held, remove_folder, still_named
from reelport.client.files.part import translate_io_errors
from reelport.client.ranges.windows import Window
from reelport.errors import UsageError

_LONGEST_NAME = 200
"""Bytes of the target's name that the folder's can take up, and be no longer than names may be."""

_NAME = re.compile(r"(\d{4}-\d\d-\d\d)_(\d{4}-\d\d-\d\d)\.([0-9a-f]+)\.csv")


class Folder:
    """The folder of one target, held by one process at a time: a second one gets a folder of its own.

    What is kept stays when the run ends early, for the next run to go on with, but not in a folder of one's own,
    which nobody would find again: one that a killed process left is taken away. `remove` takes all of it away.
    """

    def __init__(self, path: Path, lock: int | None, *, stays: bool) -> None:
        self.path = path
        self._lock = lock
        self._stays = stays

    @classmethod
    def beside(cls, target: Path) -> Self:
        """The folder of a target, made where it isn't there. Raises StorageError."""
        name = target.name.encode("utf-8", "surrogateescape")[:_LONGEST_NAME].decode("utf-8", "ignore")
        path = target.with_name(f".{name}.windows")
        with translate_io_errors(path):
            _sweep(path)
            lock = _locked(path)
            if lock is not None:
                return cls(path, lock, stays=True)
            path = path.with_name(f"{path.name}-{secrets.token_hex(4)}")
            return cls(path, _locked(path), stays=False)

    def file(self, window: Window, digest: str) -> Path:
        """Where a window of the query of that digest is kept."""
        return self.path / f"{window.start}_{window.end}.{digest}.csv"

    def list_files(self, digest: str) -> tuple[Window, ...]:
        """The windows of that query whose files are there."""
        with translate_io_errors(self.path):
            found = [_NAME.fullmatch(path.name) for path in sorted(self.path.iterdir())]
        return tuple(window for each in found if each and each[3] == digest and (window := _window(each)))

    def remove(self) -> None:
        """Take the folder away with all that is in it."""
        if self._lock is None:
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            lock, self._lock = self._lock, None
            remove_folder(self.path, self.path / _LOCK, lock)

    def close(self) -> None:
        """Let the next process have it. A folder that is empty, or that nobody would find again, goes."""
        with suppress(OSError):
            if not self._stays or [path.name for path in self.path.iterdir()] == [_LOCK]:
                self.remove()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def checked_folder(to: str | os.PathLike[str]) -> Path:
    """The folder that windows may stay in, made where it isn't there. Raises UsageError when it can't be one."""
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


_LOCK = "lock"


def _locked(folder: Path) -> int | None:
    """A lock on the folder, which is made where it isn't there; None when another process holds it."""
    while True:
        folder.mkdir(exist_ok=True)
        lock = folder / _LOCK
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        except FileNotFoundError:
            continue  # Whoever held it is just taking it away.
        ours = held(descriptor)
        if ours and still_named(descriptor, lock):
            return descriptor
        os.close(descriptor)
        if not ours:
            return None


def _sweep(path: Path) -> None:
    """Take away the folders of their own that killed processes left beside a target's."""
    own = re.compile(re.escape(path.name) + r"-[0-9a-f]{8}")
    with suppress(OSError):
        for left in [each for each in path.parent.iterdir() if own.fullmatch(each.name)]:
            lock = _locked(left)
            if lock is not None:
                remove_folder(left, left / _LOCK, lock)


def _window(name: re.Match[str]) -> Window | None:
    with suppress(ValueError):
        return Window(date.fromisoformat(name[1]), date.fromisoformat(name[2]))
    return None
