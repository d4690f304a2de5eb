"""Snapshots: what a report pins, which files it reads of it, and the rows of object tables."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from tests.cases import thin_out
from tests.facts.conftest import remote_tables
from tests.facts.log.small_log import SmallLog, load_days
from tests.object_rows import Row, merge_rows

from reelport.errors import NewerData, StorageError
from reelport.facts.layout import LAYOUT, check_layout
from reelport.facts.loading.load import load
from reelport.facts.log.commits import CHECKPOINT_EVERY
from reelport.facts.log.delta_log import read_newest
from reelport.facts.log.freshness import find_freshness, tables_report
from reelport.facts.log.log_entry import DataFile
from reelport.facts.log.log_files import attach_tables
from reelport.facts.log.object_reader import read_rows
from reelport.facts.log.snapshot import KEPT_LISTINGS, newest_versions, pin
from reelport.facts.tables import CHANNELS, PLAYS, TABLES
from reelport.storage.file_cache import FileCache

pytestmark = pytest.mark.long

Write = Callable[..., Path]


def test_an_absent_table_has_version_minus_one_and_no_files(root: Path) -> None:
    """Before the first load every table can be pinned, and is empty."""
    assert dict(newest_versions(root)) == dict.fromkeys(TABLES, -1)
    snapshot = pin(root, ["plays", "videos"])
    assert dict(snapshot.versions) == {"plays": -1, "videos": -1}
    assert snapshot.files("plays") == snapshot.files("videos") == ()
    assert pin(root, ["plays"], {"plays": -1}).files("plays") == ()


def test_a_pinned_version_stays_as_it_is(root: Path, plays: Write) -> None:
    """Later loads don't show in a snapshot, nor in one that is pinned again at its versions."""
    load(root, "plays", [plays("a.csv", ("2023-07-01", "v1", "c1", 1))])
    before = pin(root, ["plays"])
    load(root, "plays", [plays("b.csv", ("2023-07-02", "v1", "c1", 1))])
    assert len(before.files("plays")) == 1
    assert pin(root, ["plays"], before.versions).files("plays") == before.files("plays")
    assert len(pin(root, ["plays"]).files("plays")) == 2
    with pytest.raises(StorageError, match="version 99"):
        pin(root, ["plays"], {"plays": 99})


def test_the_files_of_versions_long_past_are_let_go(tmp_path: Path) -> None:
    """A process that has pinned each of many versions keeps the listings of some, and tells the freshness of all."""
    load_days(tmp_path, PLAYS, "a", (1,))
    log = SmallLog(tmp_path / "plays")
    (add,) = (action["add"] for action in log.read(1) if "add" in action)
    for version in range(2, KEPT_LISTINGS + 6):
        log.commit({"add": add | {"path": f"month=2023-07/{version}.parquet"}})
        assert len(find_freshness(pin(tmp_path, ["plays"]), date(2023, 9, 1))) == 1
    kept = [each for each in gc.get_objects() if isinstance(each, DataFile) and each.path == add["path"]]
    assert len(kept) <= KEPT_LISTINGS


def test_files_are_pruned_by_day_and_by_owner(root: Path, plays: Write) -> None:
    """Only files that may hold a row of the days, and of the owners when they are given, are read."""
    rows = [(f"2023-07-{day:02}T23:59:59.999999Z", "v", owner, 1) for day, owner in ((1, "b"), (2, "d"), (3, "é"))]
    load(root, "plays", [plays("a.csv", *rows)])
    snapshot = pin(root, ["plays"])
    names = [Path(path).name[:10] for path in snapshot.files("plays", date(2023, 7, 2), date(2023, 7, 3))]
    assert names == ["2023-07-02", "2023-07-03"]
    assert snapshot.files("plays", date(2023, 7, 4), None) == ()
    owned = snapshot.files("plays", channels=frozenset({"a", "é"}))
    assert [Path(path).name[:10] for path in owned] == ["2023-07-03"]
    assert snapshot.files("plays", channels=frozenset()) == ()


def test_many_commits_make_checkpoints_and_lose_nothing(root: Path, plays: Write) -> None:
    """Past a checkpoint the same files are seen, and a batch from before it is still known."""
    paths = [plays(f"{n}.csv", ("2023-07-01", f"v{n}", "c1", 1)) for n in range(CHECKPOINT_EVERY + 2)]
    for path in paths:
        load(root, "plays", [path])
    assert list((root / "plays" / "_delta_log").glob("*.checkpoint.parquet"))
    assert len(pin(root, ["plays"]).files("plays")) == len(paths)
    assert load(root, "plays", [paths[0]]).already


def test_a_table_that_asks_for_more_is_refused(root: Path, plays: Write) -> None:
    """A protocol of another tool or version is named, and nothing is read by guess."""
    load(root, "plays", [plays("a.csv", ("2023-07-01", "v1", "c1", 1))])
    first = root / "plays" / "_delta_log" / f"{0:020}.json"
    first.write_text(first.read_text().replace('"minReaderVersion":1', '"minReaderVersion":2'))
    with pytest.raises(NewerData, match="reader 2"):
        pin(root, ["plays"])


def test_a_data_directory_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    """The mark of the layout is made once, and a higher one is refused by name."""
    check_layout(tmp_path / "data")
    check_layout(tmp_path / "data")
    (tmp_path / "data" / "layout.json").write_text(f'{{"layout": {LAYOUT + 1}}}')
    with pytest.raises(NewerData, match="newer version of Reelport"):
        check_layout(tmp_path / "data")
    for text in ("{}", "garbage", '{"layout": "1"}'):
        (tmp_path / "data" / "layout.json").write_text(text)
        with pytest.raises(StorageError, match=r"layout\.json is damaged, or no file of Reelport: .* {\"layout\": 1}$"):
            check_layout(tmp_path / "data")


@pytest.mark.parametrize(
    ("moments", "days"),
    thin_out(
        [
            (("2023-07-01T00:00", "2023-07-03T23:10"), (date(2023, 7, 1), date(2023, 7, 3))),
            (("2023-07-01T00:59", "2023-07-03T22:00"), (date(2023, 7, 1), date(2023, 7, 2))),
            (("2023-07-01T01:00", "2023-07-03T22:00"), (date(2023, 7, 2), date(2023, 7, 2))),
            (("2023-07-01T05:00", "2023-07-01T06:00"), (None, None)),
        ],
        2,
    ),
)
def test_the_report_tells_the_first_and_last_complete_day(
    root: Path, plays: Write, moments: tuple[str, str], days: tuple[date | None, date | None]
) -> None:
    """A day at either end counts when its outer hour is loaded."""
    load(root, "plays", [plays("a.csv", *((moment, "v", "c", 1) for moment in moments))])
    report = {one.table: one for one in tables_report(root, date(2023, 9, 1))}
    assert (report["plays"].complete_from, report["plays"].complete_to) == days
    assert (report["plays"].rows, report["ads"].rows, report["ads"].last_load) == (2, 0, None)
    assert report["plays"].last_load is not None


ROWS: list[Row] = [
    {"id": "9", "slug": "nine", "name": "", "account_id": None},
    {"id": "\U0001f534", "slug": "ééé" * 30, "name": 'a "name"\n🔴', "account_id": "a"},
]


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    """Of the newest version alone; an empty text isn't none, and none stays none."""
    merge_rows(tmp_path, CHANNELS, [{**ROWS[0], "slug": "old"}], "first")
    merge_rows(tmp_path, CHANNELS, ROWS, "second")
    assert sorted(read_rows(tmp_path, CHANNELS), key=lambda row: row["id"]) == ROWS


def test_a_table_that_nothing_was_loaded_into_has_no_rows(tmp_path: Path) -> None:
    """Neither where there is no folder of it, nor an error."""
    assert read_rows(tmp_path, CHANNELS) == []


@pytest.mark.parametrize("is_gone", [True, False], ids=["gone", "damaged"])
def test_a_table_whose_file_cannot_be_read_is_named(tmp_path: Path, is_gone: bool) -> None:
    """With what to do about it; no row is made up."""
    merge_rows(tmp_path, CHANNELS, ROWS, "first")
    now = read_newest(tmp_path, CHANNELS)
    file = now.path(now.files[0])
    if is_gone:
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(StorageError, match=r"channels: .*; run reelport verify$"):
        read_rows(tmp_path, CHANNELS)


def test_a_damaged_file_of_the_cache_is_named(object_server: str, tmp_path: Path) -> None:
    """It is read without the library of the log."""
    assert object_server
    root = tmp_path / "facts"
    attach_tables(root, replace(remote_tables(root), cache=FileCache(tmp_path / "cache", 10**9, "facts/")))
    merge_rows(root, CHANNELS, ROWS, "first")
    path = Path(pin(root, ["channels"]).files("channels")[0])
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(StorageError, match=f"^{path} can't be read: .*; run reelport verify$"):
        read_rows(root, CHANNELS)
