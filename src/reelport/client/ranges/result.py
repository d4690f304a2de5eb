"""What a report over any range comes to: one file, or one a window."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from reelport.client.files.proof import weakest
from reelport.client.flows.download import Downloaded, earliest
from reelport.client.results.tables import Table
from reelport.errors import UsageError


@dataclass(frozen=True, slots=True)
class Ranged(Downloaded):
    """A report over any range on disk; `windows` are the reports that it was made of.

    Where windows were kept apart, `path` is their folder, bytes and rows are those of all, and there is
    neither a SHA-256 nor a sidecar for the whole. Files of windows that were merged are gone. `last_complete_day` is
    the first of the windows'.
    """

    windows: tuple[Downloaded, ...] = ()

    @classmethod
    def alone(cls, done: Downloaded) -> Self:
        """A range that was one report."""
        return cls(
            done.path, done.bytes, done.sha256, done.rows, done.proof, done.sidecar, done.last_complete_day, (done,)
        )

    @classmethod
    def kept(cls, folder: Path, windows: Sequence[Downloaded]) -> Self:
        """Windows as files of their own."""
        size, rows = sum(each.bytes for each in windows), sum(each.rows for each in windows)
        proof = weakest([each.proof for each in windows])
        complete = earliest([each.last_complete_day for each in windows])
        return cls(folder, size, "", rows, proof, None, complete, tuple(windows))

    def table(self, text: Collection[str] = ()) -> Table:
        """As of any download. UsageError where windows were kept apart: each of them has its own."""
        if self.path.is_dir():
            raise UsageError("The windows were kept apart: take the table of each of `windows`.")
        return Downloaded.table(self, text)  # A class with slots has no `super()` without arguments.
