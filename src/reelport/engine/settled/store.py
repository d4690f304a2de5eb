"""Keeps aggregated months as Parquet files by key: whole or absent, bounded.

A key says all that a month's rows depend on, so its file is never wrong, whoever wrote it. Any process may use it or
delete it: who finds it gone computes the month.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from reelport import killpoints
from reelport.storage.durable import make_folder, sync_file, sync_folder
from reelport.storage.modes import private

FOLDER = ".settled"
"""The folder under the tables' root that holds kept months; it may be deleted at any time."""
_DATA, _ASKED = ".parquet", ".asked"
_LARGEST_SHARE = 0.1
"""Share of the space that one month may take."""
_MOST_MARKS = 10_000
"""Marks of months asked for once that are kept."""


@dataclass(frozen=True, slots=True)
class KeptMonths:
    """The kept months below a tables' root, which together take at most `space` bytes.

    Drafts lie in a folder of this process's own, which goes with it.
    """

    root: Path
    space: int
    drafts: Path

    @property
    def folder(self) -> Path:
        """Where they lie."""
        return self.root / FOLDER

    def find(self, key: str) -> Path | None:
        """Find the month of this key, and count the use; None when it isn't kept."""
        path = self.folder / f"{key}{_DATA}"
        try:
            os.utime(path)
        except OSError:
            return None
        return path

    def is_asked_again(self, key: str) -> bool:
        """Whether the month was asked for before. If not, remember that it was now.

        Keeping a month costs time, which one that is asked for once never gives back.
        """
        mark = self.folder / f"{key}{_ASKED}"
        if mark.exists():
            return not mark.stat().st_size
        with suppress(OSError), private():
            make_folder(self.folder)
            mark.touch()
            self._delete_oldest(_ASKED, lambda sizes: len(sizes) > _MOST_MARKS)
        return False

    def keep(self, key: str, write: Callable[[Path], None]) -> Path | None:
        """Keep what `write` writes to a draft; None where it can't be kept.

        Those used least recently make room. A disk that takes no more keeps nothing, and fails no report. Errors of
        `write` pass, but for OSError.
        """
        draft, path = self.drafts / f"{key}-{secrets.token_hex(6)}{_DATA}", self.folder / f"{key}{_DATA}"
        try:
            with private():
                make_folder(self.folder)
                make_folder(self.drafts)
                write(draft)
            if draft.stat().st_size > self.space * _LARGEST_SHARE:
                (self.folder / f"{key}{_ASKED}").write_text("too large")
                return None
            sync_file(draft)
            killpoints.reach("settled-write")
            draft.replace(path)
            sync_folder(self.folder)
            self._delete_oldest(_DATA, lambda sizes: sum(sizes) > self.space)
        except OSError:
            return None
        finally:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
        return path if path.exists() else None

    def _delete_oldest(self, suffix: str, is_too_much: Callable[[list[int]], bool]) -> None:
        """Delete files of this suffix, the least recently used first, while it is too much."""
        files = sorted(_list_files(self.folder, suffix), key=lambda file: file[1:])
        while files and is_too_much([size for _, _, size in files]):
            files.pop(0)[0].unlink(missing_ok=True)


def _list_files(folder: Path, suffix: str) -> Iterator[tuple[Path, int, int]]:
    """List files with the time of their last use and their size; some may vanish meanwhile."""
    for path in folder.glob(f"*{suffix}"):
        with suppress(FileNotFoundError):
            status = path.stat()
            yield path, status.st_mtime_ns, status.st_size
