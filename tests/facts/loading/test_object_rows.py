"""A few rows are merged into an object table as a load would merge them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reelport.errors import StorageError
from reelport.facts.loading.load import load_arrow
from reelport.facts.loading.object_rows import Row, merge_rows
from reelport.facts.loading.verification import verify
from reelport.facts.log.delta_log import read_entries, read_newest
from reelport.facts.tables import CHANNELS, stored_schema


def _channel(id_: str, slug: str | None = None, name: str | None = None) -> Row:
    return {"id": id_, "slug": slug or f"s-{id_}", "name": name, "account_id": None}


def _rows(root: Path) -> list[Row]:
    now = read_newest(root, CHANNELS)
    return [row for path in now.paths(now.files) for row in pq.ParquetFile(path).read().to_pylist()]


BATCHES = (
    [_channel(each) for each in ("a", "\U0001f534", "9", "\uff5e", "Z", "é", "aa")],
    [_channel("9", "old"), _channel("b"), _channel("9", "new"), _channel("\uff5e", "s", 'a "name" 🔴')],
    [_channel("9", "newer"), _channel("9", "new")],
    [_channel("0"), _channel("\U0001f534\U0001f534")],
)


def test_merged_rows_lie_as_a_load_would_lay_them(tmp_path: Path) -> None:
    """The same rows in the order of their ids' bytes, and the same log; of equal ids the last one counts."""
    merged, loaded = tmp_path / "merged", tmp_path / "loaded"
    for number, rows in enumerate(BATCHES):
        merge_rows(merged, CHANNELS, rows, f"b{number}")
        load_arrow(loaded, "channels", pa.Table.from_pylist(rows, stored_schema("channels")), f"b{number}")
    assert _rows(merged) == _rows(loaded)
    entries = [read_entries(read_newest(root, CHANNELS)) for root in (merged, loaded)]
    assert entries[0] == entries[1]
    assert [entry.rows for entry in entries[0]] == [7, 3, 2]


def test_rows_that_are_there_change_nothing(tmp_path: Path) -> None:
    """The table keeps its version, and a row that differs makes a new one."""
    row = _channel("c1", "one", 'a "name" 🔴')
    assert merge_rows(tmp_path, CHANNELS, [row], "first") == 1
    assert merge_rows(tmp_path, CHANNELS, [row], "second") is None
    assert merge_rows(tmp_path, CHANNELS, [_channel("c1", "one")], "third") == 2
    assert not any(table.findings for table in verify(tmp_path))


def test_rows_merged_at_once_are_all_kept(tmp_path: Path) -> None:
    """Whoever commits second merges into what the first one has left."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda each: merge_rows(tmp_path, CHANNELS, [_channel(each)], each), "abcdefgh"))
    assert [row["id"] for row in _rows(tmp_path)] == list("abcdefgh")
    files = {path.name for path in (tmp_path / "channels").glob("*.parquet")}
    assert len(files) == 8


def test_rows_that_cant_be_written_leave_the_table_as_it_was(tmp_path: Path) -> None:
    """Where the folder takes no file the error is told, and no version names one."""
    merge_rows(tmp_path, CHANNELS, [_channel("c1")], "first")
    folder = tmp_path / "channels"
    folder.rename(tmp_path / "moved")
    folder.write_text("no folder")
    with pytest.raises(StorageError):
        merge_rows(tmp_path, CHANNELS, [_channel("c2")], "second")
    folder.unlink()
    (tmp_path / "moved").rename(folder)
    assert [row["id"] for row in _rows(tmp_path)] == ["c1"]
