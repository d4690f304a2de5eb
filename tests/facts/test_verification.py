"""Verifying: whatever happens to a file or a log behind our back is found and named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from reelport.errors import StorageError
from reelport.facts.commits import Change, commit
from reelport.facts.loading import load
from reelport.facts.log import Entry, current
from reelport.facts.rewriting import rows_of
from reelport.facts.schema import table_named
from reelport.facts.snapshot import pin
from reelport.facts.storage import Writing
from reelport.facts.verification import verify

Write = Callable[..., Path]


@pytest.fixture
def loaded(root: Path, plays: Write) -> Path:
    """A table of one file with two rows; the file's path."""
    load(root, "plays", [plays("a.csv", ("2023-07-01T05:00", "v1", "c1", 1), ("2023-07-01T06:00", "v2", "c2", 1))])
    return Path(pin(root, ["plays"]).files("plays")[0])


def _findings(root: Path) -> list[str]:
    return [finding for one in verify(root) for finding in one.findings]


def test_a_right_table_has_no_findings(root: Path, loaded: Path) -> None:
    """What was loaded is as recorded."""
    assert loaded.is_file()
    assert _findings(root) == []
    assert [(one.table, one.files, one.rows) for one in verify(root)] == [("plays", 1, 2)]


def test_a_missing_file_is_found(root: Path, loaded: Path) -> None:
    """A file that was deleted is named."""
    loaded.unlink()
    (finding,) = _findings(root)
    assert finding.endswith(f"{loaded.name}: the file is missing")


def test_a_cut_file_is_found(root: Path, loaded: Path) -> None:
    """A file that lost its end has another size and can't be read."""
    loaded.write_bytes(loaded.read_bytes()[:-100])
    size, unreadable = _findings(root)
    assert "its record" in size
    assert "can't be read" in unreadable


def test_a_flipped_bit_is_found(root: Path, loaded: Path) -> None:
    """A page whose bytes changed in place is found by its checksum."""
    column = pq.ParquetFile(loaded).metadata.row_group(0).column(1)
    content = bytearray(loaded.read_bytes())
    content[column.dictionary_page_offset + column.total_compressed_size - 3] ^= 1
    loaded.write_bytes(content)
    (finding,) = _findings(root)
    assert "can't be read" in finding


def test_other_rows_than_recorded_are_found(root: Path, loaded: Path) -> None:
    """A file that was written again by hand with fewer rows is found."""
    pq.write_table(pq.ParquetFile(loaded).read().slice(0, 1), loaded)
    assert any("the file has 1 rows, its record 2" in finding for finding in _findings(root))


def test_unsorted_rows_and_rows_of_another_month_are_found(root: Path, loaded: Path) -> None:
    """A commit of files that break the table's promises is found by reading them."""
    table = table_named("plays")
    (rows,) = rows_of(loaded, table)
    with Writing(root / "plays", table) as writing:
        writing.take("2023-08-01-x", "2023-08", rows.take([1, 0]))
        files = writing.finish()
        commit(root, table, lambda _: Change(Entry("load", "by-hand"), files))
        writing.keep()
    assert sorted(finding.split(": ")[1] for finding in _findings(root)) == [
        "rows lie outside the times or the month of the file's record",
        "the rows are not sorted by owner_channel_id, started_at, video_id",
    ]


def test_a_broken_log_is_found(root: Path, loaded: Path) -> None:
    """A commit that can't be read, or is missing, is a finding of its table and no crash."""
    assert loaded.is_file()
    newest = root / "plays" / "_delta_log" / f"{current(root, table_named('plays')).version:020}.json"
    newest.write_text('{"add":')
    (finding,) = _findings(root)
    assert str(root / "plays") in finding
    with pytest.raises(StorageError):
        pin(root, ["plays"])
