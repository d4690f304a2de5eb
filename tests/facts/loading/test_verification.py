"""Verifying finds and names whatever happens to a file or a log; rows of object tables merge as a load would."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.cases import thin_out
from tests.object_rows import Row, merge_rows
from tests.rotten_files import rot_name

from reelport.errors import BadInput, StorageError
from reelport.facts.data_files.sorted_files import StagedFiles
from reelport.facts.data_files.work_folders import SPILL
from reelport.facts.loading.load import load
from reelport.facts.loading.preview import preview
from reelport.facts.loading.undo import plan_undo
from reelport.facts.loading.vacuum import vacuum
from reelport.facts.loading.verification import verify
from reelport.facts.log.commits import Change, commit
from reelport.facts.log.delta_log import read_newest
from reelport.facts.log.history import list_loads, read_history
from reelport.facts.log.log_entry import LogEntry
from reelport.facts.log.log_files import LOG_FOLDER, commit_name
from reelport.facts.log.snapshot import pin
from reelport.facts.log.table_identity import FOLDER
from reelport.facts.tables import CHANNELS, find_table

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


def test_a_damaged_name_is_found(root: Path, loaded: Path) -> None:
    """A column whose name is no UTF-8 any more ends neither a verify nor a compact with a traceback."""
    rot_name(loaded, "video_id")
    (rotten,) = _findings(root)
    assert "its bytes are not those that were written" in rotten
    with pytest.raises(StorageError, match="run reelport verify"):
        plan_undo(root, list_loads(root)[-1].batch)


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
    rows = pq.ParquetFile(loaded).read()
    with StagedFiles(root / "plays", table, -1, root) as writing:
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


def _channel(id_: str, slug: str | None = None, name: str | None = None) -> Row:
    return {"id": id_, "slug": slug or f"s-{id_}", "name": name, "account_id": None}


def _rows(root: Path) -> list[Row]:
    now = read_newest(root, CHANNELS)
    return [row for path in now.paths(now.files) for row in pq.ParquetFile(path).read().to_pylist()]


MAP = "SELECT id, lower(slug) AS slug FROM input"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file of channels, from lines of id and slug."""

    def make(*lines: str, name: str = "channels.csv") -> Path:
        path = tmp_path / name
        path.write_text("\n".join(["id,slug", *lines, ""]))
        return path

    return make


def refusals(root: Path, files: Sequence[Path], mapping: Path | None = None) -> set[str]:
    """Why a load refuses the files, and why a dry run says it would; the table stays as it is."""
    before = read_newest(root, CHANNELS).version
    with pytest.raises(BadInput) as refused:
        load(root, "channels", files, mapping=mapping)
    assert read_newest(root, CHANNELS).version == before
    shown = preview(root, "channels", files, mapping=mapping)
    assert shown.rows_to_load == 0
    return {str(refused.value).removeprefix("nothing was loaded: "), str(shown.refusal)}


def test_every_shared_slug_is_refused_at_once(root: Path, write: Write) -> None:
    """Within the files, and against the channels that stay; nothing lands of the others."""
    load(root, "channels", [write("c1,one", "c2,two")])
    files = [write("c3,one", "c4,four", "c5,five", name="a.csv"), write("c6,five", "c7,seven", name="b.csv")]
    assert refusals(root, files) == {
        "The slug 'five' is given to 'c5' and 'c6'.\nThe slug 'one', given to 'c3', is another channel's already, 'c1'."
    }


def test_the_rows_of_a_mapping_count(root: Path, write: Write, tmp_path: Path) -> None:
    """Not the texts of the file."""
    load(root, "channels", [write("c1,one")])
    mapping = tmp_path / "map.sql"
    mapping.write_text(MAP)
    said = "The slug 'one', given to 'c2', is another channel's already, 'c1'."
    assert refusals(root, [write("c2,ONE")], mapping) == {said}


def test_slugs_may_change_hands_in_one_load(root: Path, write: Write) -> None:
    """What counts is what is there afterwards; of a channel that is named twice, the last row. Renames are counted."""
    load(root, "channels", [write("c1,one", "c2,two", "c3,three")])
    files = [write("c1,two", "c2,three", "c2,one", "c3,three", "c4,four")]
    assert preview(root, "channels", files).renamed == 2
    assert load(root, "channels", files).renamed == 2
    assert preview(root, "channels", files).renamed == 0
    assert load(root, "channels", files).already


def test_a_bad_row_takes_no_slug(root: Path, write: Write) -> None:
    """It isn't loaded."""
    files = [write("c1,one", ",one")]
    assert preview(root, "channels", files).refusal is None
    assert load(root, "channels", files).rejects == 1


def test_slugs_that_are_shared_already_do_not_hold_up_others(root: Path, write: Write) -> None:
    """A command may have added them. A load that gives such a slug to one more channel is refused."""
    merge_rows(
        root, CHANNELS, [{"id": id_, "slug": "s", "name": None, "account_id": None} for id_ in ("c1", "c2")], "x"
    )
    assert load(root, "channels", [write("c3,three")]).rows == 1
    assert refusals(root, [write("c4,s")]) == {"The slug 's', given to 'c4', is another channel's already, 'c1'."}
    assert load(root, "channels", [write("c1,one")]).renamed == 1


def test_an_error_lists_as_many_as_can_be_read(root: Path, write: Write) -> None:
    """The rest is counted."""
    files = [write(*(f"c{number},s{number // 2:03}" for number in range(250)))]
    (said,) = refusals(root, files)
    lines = said.splitlines()
    assert (len(lines), lines[-1]) == (101, "25 more like these.")


def cut(path: Path) -> None:
    """Take away a file's end."""
    path.write_bytes(path.read_bytes()[:-9])


def wipe(path: Path) -> None:
    """Let a page of the file's values be none that was ever compressed."""
    path.write_bytes(b"PAR1" + bytes(50) + path.read_bytes()[54:])


@pytest.mark.parametrize("damage", [cut, wipe, lambda path: rot_name(path, "slug")], ids=["cut", "page", "name"])
def test_a_damaged_table_is_named(root: Path, write: Write, damage: Callable[[Path], None]) -> None:
    """By the dry run of a load, and by a command that adds a channel."""
    load(root, "channels", [write("c1,one")])
    path = Path(pin(root, ["channels"]).files("channels")[0])
    damage(path)
    with pytest.raises(StorageError, match=f"^{path}"):
        preview(root, "channels", [write("c2,two")])
    with pytest.raises(StorageError, match=f"^{path}"):
        merge_rows(root, CHANNELS, [{"id": "c2", "slug": "two", "name": None, "account_id": None}], "more")
