"""A log that is replayed without the Delta library: its files are the library's, to the last bit."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.facts.conftest import remote_tables
from tests.facts.log.small_log import SmallLog, load_days
from tests.facts.log.test_older_data import ARCHIVE
from tests.storage.object_server import Fault, FaultyProxy

from reelport.errors import BadInput, StoreUnavailable, UsageError
from reelport.facts.loading.compaction import compact
from reelport.facts.loading.load import load_arrow
from reelport.facts.loading.undo import undo
from reelport.facts.loading.vacuuming import vacuum
from reelport.facts.loading.verification import verify
from reelport.facts.log import delta_log
from reelport.facts.log.data_file import DataFile
from reelport.facts.log.log_files import HINT, LOG_FOLDER, commit_name, list_commits, list_tables, open_store
from reelport.facts.log.log_replay import list_files_at, replay_files
from reelport.facts.log.plain_actions import UnusualLog
from reelport.facts.log.remote_tables import attach_tables
from reelport.facts.log.snapshot import FileLister, newest_version
from reelport.facts.tables import EARNINGS, PLAYS, TABLES, Table
from reelport.storage.retries import retry_for

LATER = date(2023, 9, 1)


def _both(root: Path, table: Table, version: int) -> tuple[DataFile, ...]:
    """The files of a version by the replay, which are the library's to the last bit."""
    replayed = replay_files(root / table.name, table, version)
    by_library = delta_log.list_files_at(root / table.name, table, version)
    assert (replayed, repr(replayed)) == (by_library, repr(by_library))
    return replayed


def _compare_all(root: Path) -> None:
    """Compare every version of each table that can still be read."""
    for table in list_tables(root):
        for version in list_commits(open_store(root / table.name)):
            _both(root, table, version)


STEPS = st.one_of(
    st.tuples(st.just("load"), st.sampled_from("abc")),
    st.tuples(st.just("replace"), st.sampled_from("rs")),
    st.tuples(st.just("undo"), st.sampled_from("abcrs")),
    st.tuples(st.sampled_from(["compact", "vacuum", "checkpoint"]), st.just("")),
)
A, B, R = ("load", "a"), ("load", "b"), ("replace", "r")
COMPACT, VACUUM, CHECKPOINT = (("compact", ""), ("vacuum", ""), ("checkpoint", ""))


@settings(max_examples=max(settings().max_examples // 20, 1))
@given(table=st.sampled_from([PLAYS, EARNINGS]), steps=st.lists(STEPS, min_size=3, max_size=9))
@example(PLAYS, [A, CHECKPOINT, B, R, CHECKPOINT, COMPACT, ("undo", "r"), CHECKPOINT, A, VACUUM])
def test_any_sequence_gives_the_files_that_the_library_gives(table: Table, steps: list[tuple[str, str]]) -> None:
    """Loads, replacements, undos, compactions, vacuums, checkpoints: at every version that can still be read."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "facts"
        for kind, name in steps:
            with suppress(BadInput, UsageError):
                _take_step(root, table, kind, name)
        _compare_all(root)
        if (root / table.name).exists():
            log = SmallLog(root / table.name)
            log.write_checkpoint()
            log.clean()
            _compare_all(root)


def _take_step(root: Path, table: Table, kind: str, name: str) -> None:
    match kind:
        case "load":
            load_days(root, table, name, (1, 2))
        case "replace":
            load_days(root, table, name, (2,), (date(2023, 7, 2), date(2023, 7, 2)))
        case "undo":
            undo(root, name)
        case "compact":
            compact(root, today=LATER, memory="50MB")
        case "vacuum":
            vacuum(root, now=datetime.now(UTC) + timedelta(hours=73))
        case _ if (root / table.name).exists():
            SmallLog(root / table.name).write_checkpoint()


PLAIN: dict[str, Callable[[SmallLog], object]] = {
    "a file added again with another size": lambda log: log.commit(log.add(size=7)),
    "a file removed and added again": lambda log: log.commit_each(log.remove(), log.add(size=8)),
    "a file removed twice": lambda log: log.commit_each(log.remove(), log.remove()),
    "a file without ends": lambda log: log.commit_add(stats='{"numRecords": 5}'),
    "a file with one end": lambda log: log.commit_statistics(maxValues=None, nullCount=None),
    "an end without an owner": lambda log: log.commit_statistics(
        minValues={"started_at": "2023-07-01T00:00:00.000001Z"}
    ),
    "an end without a moment": lambda log: log.commit_statistics(maxValues={"owner_channel_id": "c"}),
    "an owner of many bytes": lambda log: log.commit_statistics(
        minValues={"owner_channel_id": "é\U0001f534\u2028\x00" * 99}
    ),
    "the first moment": lambda log: log.commit_ends("0001-01-01T00:00:00.000000Z"),
    "a moment long ago": lambda log: log.commit_ends("1600-02-29T23:59:59.999999Z"),
    "a moment far away": lambda log: log.commit_ends("9999-12-31T23:59:59.999999Z"),
    "a text with other ends of lines": lambda log: log.commit_text('{"commitInfo":{"a":"b\u2028c\x85d"}}\r\n\n'),
    "only a transaction": lambda log: log.commit({"txn": {"appId": "x", "version": 1}}),
    "what a killed writer left": lambda log: [
        (log.folder / LOG_FOLDER / name).write_text("x")
        for name in (f"{3:020}.json#1", "_commit_0a.json.tmp", f"{3:020}.checkpoint.parquet#2")
    ],
    "a hint that points nowhere": lambda log: log.hint.write_text('{"version":99,"size":1}'),
    "no hint": lambda log: log.hint.unlink(),
    "commits before the checkpoint that are gone": lambda log: log.clean(),
}


@pytest.mark.parametrize("change", PLAIN.values(), ids=PLAIN)
def test_a_plain_log_is_replayed(log: SmallLog, change: Callable[[SmallLog], object]) -> None:
    """Whatever Reelport, a crash or the cleaning of a log may leave: the library says the same of it."""
    change(log)
    _compare_all(log.folder.parent)


def test_a_table_of_an_older_version_is_replayed(tmp_path: Path) -> None:
    """Its logs are of the plain kind, and so are those of objects."""
    shutil.unpack_archive(ARCHIVE, tmp_path, filter="data")
    assert len(list_tables(tmp_path / "data" / "facts")) == 5
    _compare_all(tmp_path / "data" / "facts")


def test_a_table_of_objects_is_replayed(tmp_path: Path) -> None:
    """It has no partitions, and no ends in its statistics."""
    load_arrow(tmp_path, "channels", pa.Table.from_pylist([{"id": "c1", "slug": "one"}]), "channels")
    assert len(_both(tmp_path, TABLES["channels"], 1)) == 1


def test_a_log_of_many_commits_is_replayed_from_its_checkpoints(tmp_path: Path) -> None:
    """A hundred commits of a file each, among them checkpoints as other programs time them."""
    load_days(tmp_path, EARNINGS, "a", (1,))
    log = SmallLog(tmp_path / "earnings")
    (add,) = (action["add"] for action in log.read(1) if "add" in action)
    for version in range(2, 105):
        log.commit({"add": add | {"path": f"month=2023-07/{version % 90}.parquet", "size": version}})
        if version in {7, 40, 100}:
            log.write_checkpoint(version)
    for version in (6, 7, 8, 39, 40, 99, 100, 104):
        assert len(_both(tmp_path, EARNINGS, version)) == min(version, 91)
    log.clean()
    assert len(_both(tmp_path, EARNINGS, 104)) == 91
    with pytest.raises(UnusualLog, match="commit 41 is gone"):
        replay_files(log.folder, EARNINGS, 99)


def test_a_log_in_an_object_store_takes_no_more_requests(faulty_server: FaultyProxy, tmp_path: Path) -> None:
    """Than the library sends, and fewer where it knows the checkpoint; its files are the same."""
    root = tmp_path / "facts"
    attach_tables(root, remote_tables(root))
    for batch in "ab":
        load_days(root, EARNINGS, batch, (1,))
    SmallLog(root / "earnings").write_checkpoint(1)
    by_library, files = _count_requests(faulty_server, delta_log.list_files_at, root)
    by_replay, replayed = _count_requests(faulty_server, replay_files, root)
    by_next, _ = _count_requests(faulty_server, replay_files, root)
    assert by_next < by_replay < by_library
    assert repr(replayed) == repr(files)
    assert len(files) == 2


def test_a_long_log_in_an_object_store_is_listed_from_its_end(faulty_server: FaultyProxy, tmp_path: Path) -> None:
    """A request lists a thousand names: a log of any length takes one for its newest version, and one for a replay."""
    root = tmp_path / "facts"
    attach_tables(root, remote_tables(root))
    store, actions = open_store(root / "earnings"), _make_commit(tmp_path / "other")
    store.put(HINT, b'{"version": 2000}')
    store.put(f"{LOG_FOLDER}/{2000:020}.checkpoint.parquet", actions.checkpoint.read_bytes())
    for newest, starts in [(2_000, [2_000]), (2_000, [2_000]), (2_001, [2_000]), (2_001, [2_001])]:
        store.put(commit_name(newest), actions.path(1).read_bytes())
        faulty_server.seen.clear()
        assert newest_version(root, "earnings") == newest
        assert _list_starts(faulty_server) == starts
    faulty_server.seen.clear()
    replay_files(root / "earnings", EARNINGS, 2_001)
    assert _list_starts(faulty_server) == [1_900]
    store.delete(commit_name(2_001))
    assert newest_version(root, "earnings") == 2_000


def _make_commit(root: Path) -> SmallLog:
    load_days(root, EARNINGS, "a", (1,))
    log = SmallLog(root / "earnings")
    log.write_checkpoint(1)
    return log


def _list_starts(server: FaultyProxy) -> list[int]:
    """The versions from which listings of the log were asked for."""
    asked = [parse_qs(urlsplit(path).query) for _, path, _ in server.seen if "list-type=2" in path]
    return [int(query.get("start-after", ["/0"])[0].rpartition("/")[2]) for query in asked]


def test_a_store_that_is_away_loads_no_library(faulty_server: FaultyProxy, tmp_path: Path) -> None:
    """Which it would fail like the replay."""
    root = tmp_path / "facts"
    attach_tables(root, remote_tables(root))
    load_days(root, EARNINGS, "a", (1,))
    faulty_server.choose = lambda _method, _path: Fault.SLOW_DOWN
    told: list[str] = []
    with retry_for(0), pytest.raises(StoreUnavailable):
        list_files_at(root / "earnings", EARNINGS, 1, told.append)
    assert told == []


def _count_requests(server: FaultyProxy, list_files: FileLister, root: Path) -> tuple[int, tuple[DataFile, ...]]:
    server.seen.clear()
    files = list_files(root / "earnings", EARNINGS, 2)
    return len(server.seen), files


def test_a_text_with_another_end_of_line_breaks_no_commit(tmp_path: Path) -> None:
    """JSON doesn't escape U+2028, which Python takes for an end of a line: `verify` finds nothing wrong."""
    load_days(tmp_path, EARNINGS, "one\u2028two", (1,))
    assert "one\u2028two" in SmallLog(tmp_path / "earnings").path(1).read_text("utf-8")
    assert [one.findings for one in verify(tmp_path)] == [()]
    assert len(_both(tmp_path, EARNINGS, 1)) == 1
