"""What a table's log tells of its loads and restated days, while other processes commit to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

from reelport.facts.loading.load import load
from reelport.facts.loading.undo import undo, undo_load
from reelport.facts.log.delta_log import read_newest
from reelport.facts.log.history import (
    Load,
    find_filled_days,
    find_load_to_undo,
    list_loads,
    read_history,
    read_restated,
)
from reelport.facts.log.log_entry import DayLeftOut, Span, merge_spans
from reelport.facts.log.log_files import commit_name, open_store
from reelport.facts.tables import EARNINGS

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
