"""A table's log and its files: what they tell of loads and restated days while other processes commit."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from deltalake.exceptions import DeltaError
from tests.facts.conftest import remote_tables
from tests.facts.log.small_log import SmallLog, load_days
from tests.storage.object_server import Fault, FaultyProxy

from reelport.errors import NewerData, StorageError, StoreUnavailable
from reelport.facts.loading.load import load
from reelport.facts.loading.undo import undo, undo_load
from reelport.facts.loading.verification import verify
from reelport.facts.log.delta_log import list_files_at, read_newest, translate_delta_errors
from reelport.facts.log.history import (
    Load,
    find_load_to_undo,
    list_loads,
    read_history,
    read_restated,
)
from reelport.facts.log.log_entry import DayLeftOut, Span, merge_spans
from reelport.facts.log.log_files import HINT, LOG_FOLDER, attach_tables, commit_name, open_store
from reelport.facts.log.snapshot import newest_version, pin
from reelport.facts.tables import EARNINGS, PLAYS
from reelport.storage.retries import retry_for

pytestmark = pytest.mark.long

Write = Callable[..., Path]


def day(number: int) -> date:
    return date(2023, 7, number)


def test_the_history_of_a_version_has_no_later_load(root: Path) -> None:
    """Each load keeps the number of its commit, whatever another process commits before the log is read."""
    load_days(root, EARNINGS, "a", [1])
    load_days(root, EARNINGS, "b", [2])
    seen = read_newest(root, EARNINGS)
    load_days(root, EARNINGS, "c", [3])
    assert [(load.batch, load.version) for load in read_history(seen)] == [("a", 1), ("b", 2)]
    assert [(load.batch, load.version) for load in read_history(read_newest(root, EARNINGS))][:2] == [
        ("a", 1),
        ("b", 2),
    ]


def test_an_undo_beside_another_load_takes_back_its_own(root: Path) -> None:
    """The load that it names is the one that it undoes, so that the batch can be loaded again."""
    load_days(root, EARNINGS, "a", [1])
    load_days(root, EARNINGS, "b", [2, 3])
    seen = read_newest(root, EARNINGS)
    load_days(root, EARNINGS, "c", [4])
    undo_load(root, find_load_to_undo(read_history(seen), "b"))
    newest = read_newest(root, EARNINGS)
    assert [load.batch for load in read_history(newest) if load.undone] == ["b"]
    assert (newest.is_loaded("b"), newest.is_loaded("c")) == (False, True)
    load_days(root, EARNINGS, "b", [2, 3])
    assert sum(file.rows for file in read_newest(root, EARNINGS).files) == len([1, 2, 3, 4])


def test_a_replacement_empties_its_days_and_no_others(root: Path) -> None:
    """The first and the last of them too; its own rows fill theirs, and an undone one empties none."""
    load_days(root, EARNINGS, "a", [1, 2])
    load_days(root, EARNINGS, "c", [4, 5])
    load_days(root, EARNINGS, "b", [3], replace=(date(2023, 7, 2), date(2023, 7, 4)))

    def filled() -> list[int]:
        return sorted(day.day for file in read_newest(root, EARNINGS).files for day in file.list_days())

    assert filled() == [1, 3, 5]
    undo_load(root, find_load_to_undo(list_loads(root), "b"))
    assert filled() == [1, 2, 4, 5]


def test_a_load_touches_the_days_that_it_wrote_replaced_or_left_out() -> None:
    """The first and the last of them too, and none beside."""
    first, last = day(4), day(6)
    blank = Load("earnings", "a", None, 1, 0, (), None, (), 1)
    for one in (
        replace(blank, replaced=(first, last)),
        replace(blank, days=(first, last)),
        replace(blank, left_out=(DayLeftOut(first, 1, "x"), DayLeftOut(last, 1, "x"))),
    ):
        assert one.touches(day(1), first)
        assert one.touches(last, day(9))
        assert not one.touches(day(1), day(3))
        assert not one.touches(day(7), day(9))


def july(first: int, last: int) -> Span:
    return date(2023, 7, first), date(2023, 7, last)


def restated(root: Path, version: int | None = None) -> tuple[Span, ...]:
    found = read_newest(root, EARNINGS).version if version is None else version
    return read_restated(root / "earnings", EARNINGS, found)


def test_each_version_tells_its_restated_days(root: Path) -> None:
    """Those of replacements that stand: as one span where they adjoin, and not of the loads between."""
    load_days(root, EARNINGS, "a", [1, 9])
    load_days(root, EARNINGS, "b", [3], july(2, 4))
    load_days(root, EARNINGS, "c", [3])
    load_days(root, EARNINGS, "d", [], july(5, 5))
    load_days(root, EARNINGS, "e", [9], july(9, 9))
    undo(root, "d")
    undo(root, "a")
    assert [restated(root, version) for version in range(1, 8)] == [
        (),
        (july(2, 4),),
        (july(2, 4),),
        (july(2, 5),),
        (july(2, 5), july(9, 9)),
        (july(2, 4), july(9, 9)),
        (july(2, 4), july(9, 9)),
    ]


def test_a_day_that_is_not_over_is_not_restated(root: Path, earnings: Write) -> None:
    """Who replaces a month on its fifth day says nothing of the rest, nor of this day; nor does an undo."""
    rows = earnings("a.csv", ("2023-07-04", "c1", 1), ("2023-07-05", "c1", 1))
    load(root, "earnings", [rows], replace=july(1, 31), now=datetime(2023, 7, 5, 23, 59, tzinfo=UTC))
    assert restated(root) == (july(1, 4),)
    other = load(root, "earnings", [earnings("b.csv")], replace=july(20, 20), now=datetime(2023, 7, 21, tzinfo=UTC))
    assert restated(root) == (july(1, 4), july(20, 20))
    undo(root, other.batch)
    assert restated(root) == (july(1, 4),)


def test_the_days_of_a_long_log_are_read_from_one_commit(root: Path) -> None:
    """Behind a checkpoint too, and though no other commit before it can be read."""
    load_days(root, EARNINGS, "a", [1])
    load_days(root, EARNINGS, "b", [], july(2, 2))
    for number in range(24):
        load_days(root, EARNINGS, f"c{number}", [1])
    store = open_store(root / "earnings")
    for version in (*range(2), *range(3, 20)):
        store.delete(commit_name(version))
    assert restated(root) == (july(2, 2),)


def test_spans_that_overlap_or_adjoin_are_one() -> None:
    assert merge_spans([july(9, 12), july(1, 4), july(2, 3), july(5, 5), july(7, 7)]) == (
        july(1, 5),
        july(7, 7),
        july(9, 12),
    )


def test_a_long_log_in_an_object_store_is_listed_from_its_end(faulty_server: FaultyProxy, tmp_path: Path) -> None:
    """A request lists a thousand names: a log of any length takes one for its newest version."""
    root = tmp_path / "facts"
    attach_tables(root, remote_tables(root))
    load_days(tmp_path / "other", EARNINGS, "a", (1,))
    store, commit = open_store(root / "earnings"), SmallLog(tmp_path / "other" / "earnings").path(1).read_bytes()
    store.put(HINT, b'{"version": 2000}')
    for newest, starts in [(2_000, [2_000]), (2_000, [2_000]), (2_001, [2_000]), (2_001, [2_001])]:
        store.put(commit_name(newest), commit)
        faulty_server.seen.clear()
        assert newest_version(root, "earnings") == newest
        assert _list_starts(faulty_server) == starts
    store.delete(commit_name(2_001))
    assert newest_version(root, "earnings") == 2_000


def _list_starts(server: FaultyProxy) -> list[int]:
    """The versions from which listings of the log were asked for."""
    asked = [parse_qs(urlsplit(path).query) for _, path, _ in server.seen if "list-type=2" in path]
    return [int(query.get("start-after", ["/0"])[0].rpartition("/")[2]) for query in asked]


def test_a_store_that_is_away_is_told_as_such(faulty_server: FaultyProxy, tmp_path: Path) -> None:
    """A pin that meets it fails by what passes: the report waits for the store."""
    root = tmp_path / "facts"
    attach_tables(root, remote_tables(root))
    load_days(root, EARNINGS, "a", (1,))
    faulty_server.choose = lambda _method, _path: Fault.SLOW_DOWN
    with retry_for(0), pytest.raises(StoreUnavailable):
        pin(root, ["earnings"], {"earnings": 1})


def test_a_text_with_another_end_of_line_breaks_no_commit(tmp_path: Path) -> None:
    """JSON doesn't escape U+2028, which Python takes for an end of a line: `verify` finds nothing wrong."""
    load_days(tmp_path, EARNINGS, "one\u2028two", (1,))
    assert "one\u2028two" in SmallLog(tmp_path / "earnings").path(1).read_text("utf-8")
    assert [one.findings for one in verify(tmp_path)] == [()]
    assert len(list_files_at(tmp_path / "earnings", EARNINGS, 1)) == 1


def test_a_protocol_of_tomorrow_is_refused_by_name(log: SmallLog) -> None:
    """With what it asks for, and what this version knows."""
    log.change_first("protocol", minReaderVersion=2)
    with pytest.raises(NewerData, match="reader 2 and writer 2; this version knows 1 and 2"):
        list_files_at(log.folder, PLAYS, 3)


def test_a_version_that_is_gone_is_refused(log: SmallLog, tmp_path: Path) -> None:
    """One that never was, one before what is left of the log, and one of no table at all."""
    log.clean()
    for folder, version in ((log.folder, 4), (log.folder, 1), (tmp_path / "nothing", 0)):
        with pytest.raises(StorageError):
            list_files_at(folder, PLAYS, version)


@pytest.mark.usefixtures("object_server")
def test_a_table_in_an_object_store_leaves_no_log_on_this_machine(tmp_path: Path) -> None:
    """Whoever reads the folder would take it for the table."""
    here, there = tmp_path / "here" / "facts", tmp_path / "there" / "facts"
    attach_tables(there, remote_tables(there))
    for root in here, there:
        load_days(root, EARNINGS, "a", [1])
    assert (here / EARNINGS.name / LOG_FOLDER).is_dir()
    assert not (there / EARNINGS.name).exists()


@pytest.mark.parametrize(("said", "told"), [("x" * 120, "x" * 120), ("x" * 121, "x" * 120 + "…"), ("no\ndump", "no")])
def test_the_first_line_of_a_message_is_told_and_cut_where_it_is_long(tmp_path: Path, said: str, told: str) -> None:
    """The library goes on with dumps of its own structures."""
    sentence = re.escape(f"plays: {told}; run reelport verify")
    with pytest.raises(StorageError, match=f"{sentence}$"), translate_delta_errors(tmp_path / "plays"):
        raise DeltaError(said)
