"""Keeps aggregated months as Parquet files by key: whole or absent, bounded.

A key says all that a month's rows depend on, so its file is never wrong, whoever wrote it. Any process may use it or
delete it: who finds it gone computes the month.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from reelport import killpoints
from reelport.storage.digests import DIGITS, CheckedFiles, check_files, compute_digest
from reelport.storage.durable import make_folder, sync_file, sync_folder
from reelport.storage.last_use import note_use, used_at
from reelport.storage.modes import private

FOLDER = ".settled"
"""The folder under the tables' root that holds kept months; it may be deleted at any time."""
_DATA, _ASKED, _DIGEST = ".parquet", ".asked", ".sha256"
_LARGEST_SHARE = 0.1
"""Share of the space that one month may take."""
_MARK_DIGITS = 3
"""Digits of a key by which its mark is found: 4,096 places for the months asked for last."""


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
            note_use(path)
        except OSError:
            return None
        return path

    def is_asked_again(self, key: str) -> bool:
        """Whether the month was asked for before. If not, remember that it was now.

        Keeping a month costs time, which one that is asked for once never gives back.
        """
        asked = self._read_mark(key)
        if not asked.startswith(key):
            self._write_mark(key, key)
        return asked == key

    def _read_mark(self, key: str) -> str:
        """Read what is remembered in the key's place."""
        with suppress(OSError, UnicodeDecodeError):
            return self._find_mark(key).read_text("ascii")
        return ""

    def _write_mark(self, key: str, text: str) -> None:
        """Remember a text in the key's place, instead of what another key left there."""
        with suppress(OSError), private():
            make_folder(self.folder)
            self._find_mark(key).write_text(text, "ascii")

    def _find_mark(self, key: str) -> Path:
        """Find the key's place: one of a few thousand, so that marks need no clearing."""
        return self.folder / f"{key[:_MARK_DIGITS]}{_ASKED}"

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
                self._write_mark(key, f"{key} is too large")
                return None
            digest = compute_digest(draft)
            sync_file(draft)
            killpoints.reach("settled-write")
            with suppress(FileExistsError):  # somebody was first, and reports may be reading that file
                path.hardlink_to(draft)
                self._record_digest(path, digest)
            sync_folder(self.folder)
            self._make_room()
        except OSError:
            return None
        finally:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
        return path if path.exists() else None

    def _make_room(self) -> None:
        """Delete the months used least recently, as long as all take more than the space."""
        files = sorted(_list_files(self.folder, _DATA), key=lambda file: file[1:])
        size = sum(size for _, _, size in files)
        for path, _, own in files:
            if size <= self.space:
                return
            self.delete(path)
            size -= own

    def delete(self, path: Path) -> None:
        """Delete a month. OSError when that fails."""
        path.unlink(missing_ok=True)
        path.with_suffix(_DIGEST).unlink(missing_ok=True)

    def _record_digest(self, path: Path, digest: str) -> None:
        """Record the digest of a month that was just kept.

        It is told by its inode, for others may have deleted it and kept it anew meanwhile.
        """
        with private():
            path.with_suffix(_DIGEST).write_text(f"{path.stat().st_ino} {digest}", "ascii")


def find_digest(path: Path) -> str | None:
    """Find the digest of a kept month; None where none is recorded of this very file."""
    with suppress(OSError, UnicodeDecodeError, ValueError):
        inode, digest = path.with_suffix(_DIGEST).read_text("ascii").split()
        if int(inode) == path.stat().st_ino and len(digest) == DIGITS:
            return digest
    return None


def check_months(root: Path) -> CheckedFiles:
    """Compare the kept months below a tables' root with their digests."""
    return check_files((path, find_digest(path)) for path, *_ in _list_files(root / FOLDER, _DATA))


def _list_files(folder: Path, suffix: str) -> Iterator[tuple[Path, int, int]]:
    """List files with the time of their last use and their size; some may vanish meanwhile."""
    for path in folder.glob(f"*{suffix}"):
        with suppress(FileNotFoundError):
            status = path.stat()
            yield path, used_at(status), status.st_size
