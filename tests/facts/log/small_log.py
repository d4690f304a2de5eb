"""Tables of a few rows, and a log of plays into which tests write by hand."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from reelport.facts.loading.load import load_arrow
from reelport.facts.log.delta_log import open_delta
from reelport.facts.log.log_files import LOG_FOLDER, commit_name, list_commits, open_store, read_actions
from reelport.facts.tables import PLAYS, Table

PLAY = {"video_id": "v1", "media_type": "video", "views": 1, "time_watched_seconds": 1}
STATISTICS = {
    "numRecords": 1,
    "minValues": {"started_at": "2023-07-01T00:00:00.000000Z", "owner_channel_id": "c"},
    "maxValues": {"started_at": "2023-07-01T00:00:00.000000Z", "owner_channel_id": "c"},
    "nullCount": {"started_at": 0, "owner_channel_id": 0, "batch": 0},
}


def load_days(
    root: Path, table: Table, batch: str, days: Iterable[int], replace: tuple[date, date] | None = None
) -> None:
    """Load a row of the table for each of these days of July 2023, owned by a channel named as the batch."""
    load_arrow(root, table.name, _make_rows(table, batch, days), batch, replace=replace, memory="50MB")


def _make_rows(table: Table, owner: str, days: Iterable[int]) -> pa.Table:
    if table is PLAYS:
        moments = (datetime(2023, 7, day, 5, 0, 0, day, tzinfo=UTC) for day in days)
        return pa.Table.from_pylist([PLAY | {"started_at": moment, "owner_channel_id": owner} for moment in moments])
    return pa.Table.from_pylist(
        [{"day": date(2023, 7, day), "owner_channel_id": owner, "eur": 1, "usd": 1} for day in days]
    )


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
        self.commit_text("\n".join(map(json.dumps, actions)))

    def commit_each(self, *actions: Mapping[str, object]) -> None:
        """Commit one of these actions after the other."""
        for action in actions:
            self.commit(action)

    def commit_text(self, text: str | bytes) -> None:
        """Commit this text, whatever it is."""
        self.path(self.newest + 1).write_bytes(text.encode() if isinstance(text, str) else text)

    def commit_add(self, **changed: object) -> None:
        """Commit an add of another file, with fields changed."""
        self.commit(self.add(**{"path": "month=2023-07/x.parquet", **changed}))

    def commit_statistics(self, **changed: object) -> None:
        """Commit an add with fields of its statistics changed; None takes one away."""
        told = {name: value for name, value in (STATISTICS | changed).items() if value is not None}
        self.commit_add(stats=json.dumps(told))

    def commit_ends(self, moment: str, owner: object = "c") -> None:
        """Commit an add whose first and last rows are of this moment and owner."""
        ends = {"started_at": moment, "owner_channel_id": owner}
        self.commit_statistics(minValues=ends, maxValues=ends)

    def add(self, **changed: object) -> dict[str, Any]:
        """An add as the third load wrote it, with fields changed."""
        return {"add": next(action["add"] for action in self.read(3) if "add" in action) | changed}

    def remove(self) -> dict[str, Any]:
        """A remove of the same file."""
        told = {name: self.add()["add"][name] for name in ("path", "dataChange", "partitionValues", "size")}
        return {"remove": told | {"deletionTimestamp": 1, "extendedFileMetadata": True}}

    def change_first(self, kind: str, **changed: object) -> None:
        """Change the first protocol or metadata, and delete the checkpoint, which would hide it."""
        self.checkpoint.unlink()
        self.hint.unlink()
        actions = [{kind: action[kind] | changed} if kind in action else action for action in self.read(0)]
        self.path(0).write_text("\n".join(map(json.dumps, actions)))

    def change_field(self, **changed: object) -> None:
        """Change the column of the moment in the schema."""
        meta = next(action["metaData"] for action in self.read(0) if "metaData" in action)
        schema = json.loads(meta["schemaString"])
        schema["fields"][0] |= changed
        self.change_first("metaData", schemaString=json.dumps(schema))

    def write_checkpoint(self, version: int | None = None) -> None:
        """Let the Delta library write a checkpoint of a version."""
        open_delta(self.folder, version).create_checkpoint()

    def change_checkpoint(self, change: Callable[[list[dict[str, Any]]], object]) -> None:
        """Write the checkpoint again, its rows changed."""
        before = pq.read_table(self.checkpoint)
        rows = before.to_pylist()
        change(rows)
        pq.write_table(pa.Table.from_pylist(rows, before.schema), self.checkpoint)

    def change_adds(self, **changed: object) -> None:
        """Write the checkpoint again, with fields of each add changed."""
        self.change_checkpoint(lambda rows: [row["add"].update(changed) for row in rows if row["add"]])

    def rename_checkpoint(self, name: str) -> None:
        """Give the checkpoint another name behind its version."""
        self.checkpoint.rename(self.checkpoint.with_name(f"{self.checkpoint.name[:20]}.{name}"))

    def clean(self) -> None:
        """Delete the commits before the newest checkpoint, as other tools do."""
        for version in range(int(self.checkpoint.name[:20])):
            self.path(version).unlink(missing_ok=True)

    def copy(self, root: Path) -> SmallLog:
        """Copy the table to another root."""
        return SmallLog(shutil.copytree(self.folder, root / self.folder.name))
