"""The result of a report over any range: one merged file, or one file per window."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from reelport.client.files.proof import find_weakest
from reelport.client.flows.download import Downloaded, find_earliest
from reelport.errors import UsageError

if TYPE_CHECKING:
    from reelport.client.results.tables import Table


@dataclass(frozen=True, slots=True)
class Ranged(Downloaded):
    """A report over any range on disk; `windows` are the reports it was made of.

    Where windows were kept apart, `path` is their folder, `bytes` and `rows` are totals, and the whole has neither
    a SHA-256 nor a sidecar. After a merge the windows' own files are gone. `last_complete_day` is the earliest of the
    windows'.
    """

    windows: tuple[Downloaded, ...] = ()

    @classmethod
    def alone(cls, done: Downloaded) -> Self:
        """Make the result of a range that was one report."""
        return cls(
            done.path, done.bytes, done.sha256, done.rows, done.proof, done.sidecar, done.last_complete_day, (done,)
        )

    @classmethod
    def kept(cls, folder: Path, windows: Sequence[Downloaded]) -> Self:
        """Make the result of windows kept as separate files."""
        size, rows = sum(each.bytes for each in windows), sum(each.rows for each in windows)
        proof = find_weakest([each.proof for each in windows])
        complete = find_earliest([each.last_complete_day for each in windows])
        return cls(folder, size, "", rows, proof, None, complete, tuple(windows))

    def table(self, text: Collection[str] = ()) -> Table:
        """Read the file as a table. UsageError where windows are apart: each has its own."""
        if self.path.is_dir():
            raise UsageError("The windows were kept apart: take the table of each of `windows`.")
        return Downloaded.table(self, text)  # A class with slots has no `super()` without arguments.
