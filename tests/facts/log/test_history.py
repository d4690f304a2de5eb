"""What a table's log tells of its loads, while other processes commit to it."""

from __future__ import annotations

from pathlib import Path

from reelport.facts.loading.undo import undo_load
from reelport.facts.log.delta_log import read_newest
from reelport.facts.log.history import find_load_to_undo, read_history
from reelport.facts.tables import EARNINGS

from .small_log import load_days


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
    assert [load.batch for load in read_history(read_newest(root, EARNINGS)) if load.undone] == ["b"]
    load_days(root, EARNINGS, "b", [2, 3])
    assert sum(file.rows for file in read_newest(root, EARNINGS).files) == len([1, 2, 3, 4])
