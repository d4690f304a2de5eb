"""Verifying: whatever happens to a file or a log behind our back is found and named."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.cases import thin_out
from tests.rotten_files import rot_name

from reelport.errors import StorageError
from reelport.facts.data_files.rewriting import read_rows
from reelport.facts.data_files.sorted_files import StagedFiles
from reelport.facts.data_files.work_folders import SPILL
from reelport.facts.loading.compaction import vacuum
from reelport.facts.loading.load import load
from reelport.facts.loading.verification import verify
from reelport.facts.log.commits import Change, commit
from reelport.facts.log.delta_log import read_newest
from reelport.facts.log.history import list_loads, read_history
from reelport.facts.log.log_entry import LogEntry
from reelport.facts.log.log_files import LOG_FOLDER, commit_name
from reelport.facts.log.snapshot import pin
from reelport.facts.log.table_marks import FOLDER
from reelport.facts.tables import find_table

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
    """A file that was deleted is named, with the object of a backup that has its bytes and the days to load anew."""
    kept = hashlib.sha256(loaded.read_bytes()).hexdigest()
    loaded.unlink()
    (finding,) = _findings(root)
    assert f"{loaded.name}: the file is missing: " in finding
    assert f"objects/{kept[:2]}/{kept}, or load 20" in finding
    assert finding.endswith(" again with --replace-days")


def test_a_cut_file_is_found(root: Path, loaded: Path) -> None:
    """A file that lost its end has another size and other bytes."""
    loaded.write_bytes(loaded.read_bytes()[:-100])
    size, rotten = _findings(root)
    assert "its record" in size
    assert "its bytes are not those that were written" in rotten


def test_a_flipped_bit_is_found(root: Path, loaded: Path) -> None:
    """A page whose bytes changed in place is found by the file's digest."""
    column = pq.ParquetFile(loaded).metadata.row_group(0).column(1)
    content = bytearray(loaded.read_bytes())
    content[column.dictionary_page_offset + column.total_compressed_size - 3] ^= 1
    loaded.write_bytes(content)
    (rotten,) = _findings(root)
    assert "its bytes are not those that were written" in rotten


def test_a_damaged_name_is_found(root: Path, loaded: Path) -> None:
    """A column whose name is no UTF-8 any more ends neither a verify nor a compact with a traceback."""
    rot_name(loaded, "video_id")
    (rotten,) = _findings(root)
    assert "its bytes are not those that were written" in rotten
    with pytest.raises(StorageError, match="run reelport verify"):
        list(read_rows(loaded, find_table("plays")))


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows.select(rows.column_names[::-1]),
        lambda rows: rows.set_column(0, rows.column_names[0], pa.nulls(2, rows.column(0).type)),
        lambda rows: rows.drop_columns(["views"]),
        lambda rows: rows.slice(0, 1),
    ],
    ids=["order", "no times", "less", "fewer rows"],
)
def test_a_file_that_another_program_wrote_again_is_found(
    root: Path, loaded: Path, change: Callable[[pa.Table], pa.Table]
) -> None:
    """Whatever it changed: the digest is of all bytes."""
    pq.write_table(change(pq.ParquetFile(loaded).read()), loaded)
    assert any("its bytes are not those that were written" in finding for finding in _findings(root))


def test_rows_of_another_month_than_recorded_are_found(root: Path, loaded: Path) -> None:
    """No digest proves a file's record: it is compared with what the file says of itself."""
    table = find_table("plays")
    (rows,) = read_rows(loaded, table)
    with StagedFiles(root / "plays", table, -1) as writing:
        writing.write("2023-08-01-x", "2023-08", rows.take([1, 0]))
        files = writing.finish()
        commit(root, table, lambda _: Change(LogEntry("load", "by-hand", rows=2), files))
        writing.keep()
    assert [finding.split(": ")[1] for finding in _findings(root)] == [
        "rows lie outside the times or the month of the file's record"
    ]


def test_a_record_of_other_rows_is_found(root: Path, loaded: Path) -> None:
    """A digit of the log that rotted is told, as its file has the rows that it had."""
    path = loaded.parents[1] / commit_name(1)
    text = path.read_text()
    assert text.count('\\"numRecords\\": 2') == 1
    path.write_text(text.replace('\\"numRecords\\": 2', '\\"numRecords\\": 3').replace('"rows":2', '"rows":3'))
    (finding,) = _findings(root)
    assert finding.endswith("the file has 2 rows, its record 3")


def test_a_broken_log_is_found(root: Path, loaded: Path) -> None:
    """A commit that can't be read, or is missing, is a finding of its table and no crash."""
    assert loaded.is_file()
    now = read_newest(root, find_table("plays"))
    newest = root / "plays" / commit_name(now.version)
    newest.write_text('{"add":')
    (finding,) = _findings(root)
    assert finding.startswith(f"commit 1 of the log is damaged: put the file of a backup in place of {newest};")
    for read in (lambda: pin(root, ["plays"]), lambda: list_loads(root), lambda: read_history(now)):
        with pytest.raises(StorageError, match=f"^{newest} is cut or damaged; run reelport verify$"):
            read()


@pytest.mark.parametrize(
    ("damage", "told"),
    thin_out(
        [
            ("", "commit 2 of the log is truncated"),
            ("none", "commit 2 of the log is damaged: put the file of a backup in place of "),
            ("5", "commit 2 of the log can't be read"),
            ('{"add": {}}', "commit 2 of the log can't be read"),
            ("line", "commit 2 of the log adds files with 1 row, but records 2"),
            ("gap", "commit 1 is missing from the log"),
            ("all", "its log is lost: 3 files, such as month=2023-07/2023-07-01-"),
        ],
        3,
    ),
)
def test_a_log_that_lost_something_is_found(root: Path, loaded: Path, plays: Write, damage: str, told: str) -> None:
    """A commit that is gone, empty, no JSON or without one of its files is named, though the table can be read."""
    load(root, "plays", [plays("b.csv", ("2023-07-01", "v1", "c1", 1), ("2023-07-02", "v2", "c2", 1))])
    commit_1, commit_2 = (loaded.parents[1] / commit_name(version) for version in (1, 2))
    lines = commit_2.read_text().splitlines(keepends=True)
    match damage:
        case "line":
            commit_2.write_text("".join(line for line in lines if '"add"' not in line or "07-02-" not in line))
        case "gap":
            commit_1.unlink()
        case "all":
            shutil.rmtree(commit_1.parent)
        case content:
            commit_2.write_text(content)
    assert any(finding.startswith(told) for finding in _findings(root))


def test_a_vacuum_leaves_a_table_alone_whose_log_is_lost(root: Path, loaded: Path) -> None:
    """Its files are in no commit any more, and are all that is left of its rows."""
    for path in (loaded.parents[1] / LOG_FOLDER).iterdir():
        path.unlink()
    assert vacuum(root, now=datetime.now(UTC) + timedelta(hours=73)) == ()
    assert loaded.is_file()
    assert any("its log is lost" in finding for finding in _findings(root))


def test_an_object_table_that_kept_what_was_replaced_is_found(tmp_path: Path, root: Path) -> None:
    """A commit that lost the removal of the former objects would show both of them, and is named."""
    path = tmp_path / "c.csv"
    for slug in ("a", "b"):
        path.write_text(f"id,slug\nc1,{slug}\n")
        load(root, "channels", [path])
    commit = root / "channels" / commit_name(2)
    commit.write_text("".join(line for line in commit.read_text().splitlines(keepends=True) if '"remove"' not in line))
    (finding,) = _findings(root)
    assert finding == "commit 2 of the log replaced files, but did not remove them"


def test_files_in_no_commit_are_told_and_no_finding(root: Path, loaded: Path) -> None:
    """What a load that runs or was killed wrote is told; so is what a lost newest commit had, which looks the same."""
    shutil.copy(loaded, loaded.with_name("2023-07-05-a-b.parquet"))
    (plays,) = (table for table in verify(root) if table.table == "plays")
    assert (plays.findings, plays.left) == ((), ("month=2023-07/2023-07-05-a-b.parquet",))


def test_a_first_load_that_was_killed_lost_no_log(root: Path, loaded: Path) -> None:
    """Files without a log are a loss, unless a load left its workspace: the first commit is made at its end."""
    shutil.rmtree(loaded.parents[1] / LOG_FOLDER)
    (root / FOLDER / "plays").unlink()
    assert len(_findings(root)) == 1
    (root / SPILL / "17-killed").mkdir()
    assert _findings(root) == []


def test_an_empty_commit_of_a_load_that_was_never_done_is_mended(root: Path, loaded: Path, plays: Write) -> None:
    """As the page on troubleshooting says: its files are loaded again, and it is made one that changes nothing."""
    late = plays("b.csv", ("2023-07-02T05:00", "v1", "c1", 1))
    load(root, "plays", [late])
    cut = root / "plays" / commit_name(read_newest(root, find_table("plays")).version)
    cut.write_text("")
    load(root, "plays", [late])
    assert [finding for finding in _findings(root) if "is truncated" in finding]
    cut.write_text('{"commitInfo":{}}')
    assert _findings(root) == []
    assert loaded.is_file()
    assert sum(pq.ParquetFile(file).metadata.num_rows for file in pin(root, ["plays"]).files("plays")) == 3
