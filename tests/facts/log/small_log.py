"""Tables of a few rows, and a log of plays into which tests write by hand."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from reelport.facts.loading.load import load_arrow
from reelport.facts.log.delta_log import open_delta
from reelport.facts.log.log_files import LOG_FOLDER, commit_name, list_commits, open_store, read_actions
from reelport.facts.tables import PLAYS, USAGE, Table

PLAY = {"video_id": "v1", "media_type": "video", "views": 1, "time_watched_seconds": 1}


def load_days(
    root: Path, table: Table, batch: str, days: Iterable[int], replace: tuple[date, date] | None = None
) -> None:
    """Load a row of the table for each of these days of July 2023, owned by a channel named as the batch."""
    days = [*days]
    rows = _make_rows(table, batch, days or [1]).slice(0, len(days))
    load_arrow(root, table.name, rows, batch, replace=replace, memory="50MB")


def _make_rows(table: Table, owner: str, days: Iterable[int]) -> pa.Table:
    if table is PLAYS:
        moments = (datetime(2023, 7, day, 5, 0, 0, day, tzinfo=UTC) for day in days)
        return pa.Table.from_pylist([PLAY | {"started_at": moment, "owner_channel_id": owner} for moment in moments])
    more = {"kind": "storage"} if table is USAGE else {"eur": 1, "usd": 1}
    return pa.Table.from_pylist([{"day": date(2023, 7, day), "owner_channel_id": owner, **more} for day in days])


@dataclass(frozen=True)
class SmallLog:
    """A log in a table's folder. Its newest checkpoint is of the second version."""

    folder: Path

    @classmethod
    def make(cls, root: Path) -> SmallLog:
        """Make a table of plays by three loads, and a checkpoint of the second."""
        for batch in "abc":
            load_days(root, PLAYS, batch, (1, 2))
        log = cls(root / "plays")
        log.write_checkpoint(2)
        return log

    @property
    def newest(self) -> int:
        """The newest version."""
        return max(list_commits(open_store(self.folder)))

    @property
    def checkpoint(self) -> Path:
        """The newest checkpoint."""
        return max((self.folder / LOG_FOLDER).glob("*.checkpoint.parquet"))

    @property
    def hint(self) -> Path:
        """The file that names the newest checkpoint."""
        return self.folder / LOG_FOLDER / "_last_checkpoint"

    def path(self, version: int) -> Path:
        """The path of a commit."""
        return self.folder / commit_name(version)

    def read(self, version: int) -> list[dict[str, Any]]:
        """Read the actions of a commit."""
        return read_actions(open_store(self.folder), commit_name(version))

    def commit(self, *actions: Mapping[str, object]) -> None:
        """Commit these actions."""
        self.path(self.newest + 1).write_text("\n".join(map(json.dumps, actions)))

    def change_first(self, kind: str, **changed: object) -> None:
        """Change the first protocol or metadata, and delete the checkpoint, which would hide it."""
        self.checkpoint.unlink()
        self.hint.unlink()
        actions = [{kind: action[kind] | changed} if kind in action else action for action in self.read(0)]
        self.path(0).write_text("\n".join(map(json.dumps, actions)))

    def write_checkpoint(self, version: int) -> None:
        """Let the Delta library write a checkpoint of a version."""
        open_delta(self.folder, version).create_checkpoint()

    def clean(self) -> None:
        """Delete the commits before the newest checkpoint, as other tools do."""
        for version in range(int(self.checkpoint.name[:20])):
            self.path(version).unlink(missing_ok=True)

    def copy(self, root: Path) -> SmallLog:
        """Copy the table to another root."""
        return SmallLog(shutil.copytree(self.folder, root / self.folder.name))
