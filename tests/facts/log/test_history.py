"""What a table's log tells of its loads and restated days, while other processes commit to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

import pytest

from reelport.errors import UsageError
from reelport.facts.loading.load import load
from reelport.facts.loading.preview import preview
from reelport.facts.loading.undo import undo, undo_load
from reelport.facts.log.commits import Change, commit
from reelport.facts.log.delta_log import TableVersion, read_newest
from reelport.facts.log.history import (
    Load,
    find_filled_days,
    find_load_to_undo,
    list_loads,
    read_history,
    read_restated,
)
from reelport.facts.log.log_entry import DayLeftOut, LogEntry, Span, merge_spans
from reelport.facts.log.log_files import commit_name, open_store
from reelport.facts.tables import EARNINGS, Table

from .small_log import load_days

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
        return sorted(day.day for day in find_filled_days(list_loads(root)))

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


def undo_as_earlier_versions(root: Path, batch: str, noted: int, table: Table = EARNINGS) -> None:
    """Undo a batch as earlier versions did beside another process: it notes the version of another load.

    The batch's counter stays that of a loaded one.
    """

    def propose(now: TableVersion) -> Change:
        of_batch = tuple(file for file in now.files if file.low_owner == batch)
        return Change(LogEntry("undo", batch, 1, undoes=noted), removes=of_batch, loaded=True)

    commit(root, table, propose)


def test_an_undo_that_noted_another_load_took_back_its_own_batch(root: Path) -> None:
    load_days(root, EARNINGS, "a", [1])
    load_days(root, EARNINGS, "b", [2])
    undo_as_earlier_versions(root, "b", 1)
    assert {load.batch: load.undone for load in list_loads(root)} == {"a": False, "b": True}
    with pytest.raises(UsageError, match="undone already"):
        undo_load(root, list_loads(root)[1])
    load_days(root, EARNINGS, "b", [2])
    assert {file.low_owner for file in read_newest(root, EARNINGS).files} == {"a", "b"}
    load_days(root, EARNINGS, "b", [2])
    undo_load(root, find_load_to_undo(list_loads(root), "b"))
    load_days(root, EARNINGS, "b", [2])
    assert [(load.batch, load.undone) for load in list_loads(root)] == [
        ("a", False),
        ("b", True),
        ("b", True),
        ("b", False),
    ]


def test_files_whose_undo_noted_another_load_are_loaded_again(root: Path, tmp_path: Path) -> None:
    """By `load`, whose preview says the same."""
    load_days(root, EARNINGS, "a", [1])
    file = tmp_path / "b.csv"
    file.write_text("day,owner_channel_id,eur,usd\n2023-07-02,b,1,1\n")
    batch = load(root, "earnings", [file]).batch

    def propose(now: TableVersion) -> Change:
        of_batch = tuple(file for file in now.files if file.low_owner == "b")
        return Change(LogEntry("undo", batch, 1, undoes=1), removes=of_batch, loaded=True)

    commit(root, EARNINGS, propose)
    assert not preview(root, "earnings", [file]).already
    assert load(root, "earnings", [file]).rows == 1
    assert load(root, "earnings", [file]).already
    assert preview(root, "earnings", [file]).already


def test_a_replacement_whose_undo_noted_another_load_is_unsure(root: Path) -> None:
    """Whether the rows that it had replaced came back, the log doesn't tell."""
    load_days(root, EARNINGS, "a", [1])
    load_days(root, EARNINGS, "b", [2, 3])
    load_days(root, EARNINGS, "c", [2], replace=(date(2023, 7, 2), date(2023, 7, 2)))
    undo_as_earlier_versions(root, "c", 1)
    assert [(load.batch, load.undone, load.unsure) for load in list_loads(root)] == [
        ("a", False, False),
        ("b", False, False),
        ("c", True, True),
    ]


def test_an_undo_of_a_batch_that_never_stood_changes_nothing(root: Path) -> None:
    load_days(root, EARNINGS, "a", [1])
    undo_as_earlier_versions(root, "x", 1)
    assert [(load.batch, load.undone) for load in list_loads(root)] == [("a", False)]


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


def test_replacements_that_an_earlier_version_made_count_from_the_next_on(root: Path) -> None:
    """It noted no days: they are read from the history once, but for those of loads that are undone."""
    for batch, first, last in ("a", "01", "02"), ("b", "05", "06"), ("c", "08", "08"):
        entry = LogEntry("replace", batch, span=(f"2023-07-{first}", f"2023-07-{last}"))
        commit(root, EARNINGS, partial(_change, Change(entry, loaded=True)))
    commit(root, EARNINGS, partial(_change, Change(LogEntry("undo", "b", undoes=2), loaded=False)))
    assert restated(root) == ()
    load_days(root, EARNINGS, "d", [], july(3, 3))
    assert restated(root) == (july(1, 3), july(8, 8))
    undo_load(root, list_loads(root)[0])
    assert restated(root) == (july(3, 3), july(8, 8))


def _change(change: Change, _: TableVersion) -> Change:
    return change


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
