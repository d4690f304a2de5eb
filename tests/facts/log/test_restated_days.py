"""The log notes which days replacements restate, so that nobody reads its history for them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

from reelport.facts.loading.load import load
from reelport.facts.loading.undo import undo, undo_load
from reelport.facts.log.commits import Change, commit
from reelport.facts.log.delta_log import TableVersion, read_newest
from reelport.facts.log.history import list_loads, read_restated
from reelport.facts.log.log_entry import LogEntry, Span, merge_spans
from reelport.facts.log.log_files import commit_name, open_store
from reelport.facts.tables import EARNINGS

from .small_log import load_days

Write = Callable[..., Path]


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
