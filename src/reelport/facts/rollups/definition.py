"""What a rollup sums up, and the folder that it lies in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from reelport.catalog import Grain
from reelport.errors import UsageError
from reelport.facts.tables import TABLES
from reelport.storage.durable import make_folder, replace_file, translate_io_errors
from reelport.storage.modes import private

FOLDER = ".rollups"
"""The folder under the tables' root that holds rollups; it may be deleted at any time."""
_DEFINITION = "rollup.json"
_GRAINS = {Grain.DAY: "day", Grain.HOUR: "hour"}


@dataclass(frozen=True, slots=True)
class Rollup:
    """A rollup's definition: rows of a fact table, summed by time and by these columns.

    The columns are sorted. Those that decide whose a row is are always kept beside them (`engine.rollups.shape`).
    """

    table: str
    grain: Grain
    columns: tuple[str, ...]

    @property
    def name(self) -> str:
        """The rollup's name, by which commands and the log know it, and of its folder."""
        digest = hashlib.sha256(json.dumps(self.columns).encode()).hexdigest()[:6]
        return f"{self.table}-{_GRAINS[self.grain]}-{digest}"

    def folder(self, root: Path) -> Path:
        """The rollup's folder in the tables' root."""
        return root / FOLDER / self.name


@private()
def add_rollup(root: Path, rollup: Rollup) -> bool:
    """Record the rollup, so that builds know it. False when it is known already."""
    folder = rollup.folder(root)
    with translate_io_errors(folder):
        if (folder / _DEFINITION).exists():
            return False
        make_folder(folder)
        record = {"table": rollup.table, "grain": _GRAINS[rollup.grain], "columns": rollup.columns}
        replace_file(folder / _DEFINITION, json.dumps(record).encode())
    return True


def list_rollups(root: Path, table: str | None = None) -> tuple[Rollup, ...]:
    """List the recorded rollups, of one table or of all, by name; damaged records are left out."""
    with translate_io_errors(root):
        found = [rollup for path in (root / FOLDER).glob(f"*/{_DEFINITION}") for rollup in _read(path)]
    return tuple(sorted((each for each in found if table in {None, each.table}), key=lambda each: each.name))


def find_rollup(root: Path, name: str) -> Rollup:
    """Find a recorded rollup by name; UsageError when there is none."""
    known = list_rollups(root)
    for rollup in known:
        if rollup.name == name:
            return rollup
    names = ", ".join(rollup.name for rollup in known) or "none"
    raise UsageError(f"there is no rollup {name!r}; there are: {names}")


def drop_rollup(root: Path, rollup: Rollup) -> None:
    """Delete the rollup: its record first, then its files.

    A report that reads one of them at this moment is made again from the facts.
    """
    folder = rollup.folder(root)
    with translate_io_errors(folder):
        (folder / _DEFINITION).unlink(missing_ok=True)
        # Manifests go before what they name.
        for path in sorted(folder.glob("*"), key=lambda path: path.suffix != ".json"):
            path.unlink(missing_ok=True)
        with suppress(OSError):  # a build that runs has just put a file there: the next sweep deletes it
            folder.rmdir()


def _read(path: Path) -> Iterator[Rollup]:
    """Yield the recorded rollup, unless it can't be read or an older version knew other tables."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        record = json.loads(path.read_bytes())
        grain = {word: grain for grain, word in _GRAINS.items()}[record["grain"]]
        rollup = Rollup(record["table"], grain, tuple(record["columns"]))
        known = {column.name for column in TABLES[rollup.table].columns}
        if rollup.name == path.parent.name and known.issuperset(rollup.columns):
            yield rollup
