"""Digests of the files in a local cache, taken while they were fetched.

A cache lies for years on a disk that may rot, and outlives the processes that fetched into it. What is wrong in it is
fetched again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from reelport.storage.digests import DIGITS, DigestCheck, FileDamaged
from reelport.storage.durable import make_folder

_DIGEST = re.compile(f"[0-9a-f]{{{DIGITS}}}")


@dataclass(frozen=True, slots=True)
class CachedDigests:
    """The digests of the files below `files`, each in a file of the same name below `root`.

    They needn't be durable: one that is lost or half there proves nothing, and its file is read as it is.
    """

    root: Path
    files: Path

    def record(self, path: Path, digest: str) -> None:
        """Record the digest of a file of the cache, before it gets its name."""
        own = self._locate(path)
        make_folder(own.parent)
        own.write_text(digest, "ascii")

    def is_damaged(self, path: Path, check: DigestCheck) -> bool:
        """Whether the bytes of a file are not those that were fetched, as far as the check goes."""
        try:
            check.require(path, self._read(path))
        except FileDamaged:
            return True
        return False

    def forget(self, path: Path) -> None:
        """Delete the digest of a file that is deleted."""
        self._locate(path).unlink(missing_ok=True)

    def _read(self, path: Path) -> str | None:
        try:
            found = self._locate(path).read_text("ascii")
        except (OSError, UnicodeDecodeError):
            return None
        return found if _DIGEST.fullmatch(found) else None

    def _locate(self, path: Path) -> Path:
        return self.root / path.relative_to(self.files)
