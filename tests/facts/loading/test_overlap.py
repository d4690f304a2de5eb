"""Rows of a load on days that other batches have rows on, and rows that a replacement removes: told, also dry."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from tests.cases import thin_out

from reelport.cli.main import main
from reelport.facts.loading.compaction import compact
from reelport.facts.loading.conflicts import SharedDay, format_shared_days
from reelport.facts.loading.load import load
from reelport.facts.loading.preview import preview
from reelport.facts.loading.undo import undo

Write = Callable[..., Path]
JULY_2 = (date(2023, 7, 2), date(2023, 7, 2))
LATER = date(2023, 9, 1)


def _run(tmp_path: Path, capsys: pytest.CaptureFixture[str], *words: object) -> str:
    with pytest.raises(SystemExit) as left:
        main([*map(str, words), "--data", str(tmp_path / "data")])
    assert left.value.code == 0
    return capsys.readouterr().out


def test_an_export_that_overlaps_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], earnings: Write) -> None:
    """The load and its dry run say how many rows lie on which days of other batches, and how to restate them."""
    first = earnings("w1.csv", ("2023-07-01", "c1", 1), ("2023-07-02", "c1", 2))
    second = earnings("w2.csv", ("2023-07-02", "c1", 2), ("2023-07-02", "c2", 2), ("2023-07-03", "c1", 3))
    assert len(_run(tmp_path, capsys, "load", "earnings", first).splitlines()) == 1
    why = "If they are the same facts, they count twice"
    how = "with --replace-days 2023-07-02:2023-07-03, which removes all other rows of these days"
    rows = "2 rows {} to 1 day on which other batches have rows: 2023-07-02 (2). "
    dry = _run(tmp_path, capsys, "load", "earnings", second, "--dry-run").splitlines()
    assert f"earnings: {rows.format('would be added')}{why}: load the files {how}" in dry
    told = _run(tmp_path, capsys, "load", "earnings", second).splitlines()
    assert told[1:] == [f"earnings: {rows.format('added')}{why}: load the files again {how}"]
    span = ("--replace-days", "2023-07-02:2023-07-03")
    dry = _run(tmp_path, capsys, "load", "earnings", second, *span, "--dry-run").splitlines()
    assert "earnings: 4 rows would be removed from the days to replace" in dry
    told = _run(tmp_path, capsys, "load", "earnings", second, *span).splitlines()
    assert told[1:] == ["earnings: 4 rows removed from the days that it replaced"]
    facts = json.loads(_run(tmp_path, capsys, "load", "earnings", first, *span[:1], "2023-07-01:2023-07-02", "--json"))
    assert (facts["removed"], facts["shared_days"]) == (3, [])


@pytest.mark.parametrize(("count", "more"), [(5, ""), (6, " and 1 more day"), (8, " and 3 more days")])
def test_of_many_shared_days_the_first_five_are_named(count: int, more: str) -> None:
    days = [date(2023, 7, day) for day in range(1, count + 1)]
    told = format_shared_days([SharedDay(day, 2) for day in days], days, is_dry=False)
    assert f"2023-07-01 (2), 2023-07-02 (2), 2023-07-03 (2), 2023-07-04 (2), 2023-07-05 (2){more}. If" in told


def test_days_that_a_replacement_would_empty_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], earnings: Write
) -> None:
    """Late rows of scattered days: the span that replaces them takes all days between too."""
    _run(
        tmp_path, capsys, "load", "earnings", earnings("a.csv", *((f"2023-07-0{day}", "c1", 1) for day in range(1, 7)))
    )
    late = earnings("b.csv", ("2023-07-01", "c1", 2), ("2023-07-03", "c1", 2), ("2023-07-06", "c1", 2))
    gaps = "which removes all other rows of these days, and empties 3 days between them that have no rows in the files"
    assert f"2023-07-01:2023-07-06, {gaps}" in _run(tmp_path, capsys, "load", "earnings", late, "--dry-run")
    assert f"2023-07-01:2023-07-06, {gaps}" in _run(tmp_path, capsys, "load", "earnings", late)
    one = earnings("c.csv", ("2023-07-01", "c1", 3), ("2023-07-03", "c1", 3))
    assert "one day between them that has no rows in the files" in _run(tmp_path, capsys, "load", "earnings", one)


@pytest.mark.parametrize("compacted", [False, True])
def test_only_days_with_rows_of_standing_batches_are_shared(root: Path, earnings: Write, *, compacted: bool) -> None:
    """Days that no batch has, that a replacement emptied or whose batch was undone are free; month files hide none."""
    undone = load(root, "earnings", [earnings("a.csv", ("2023-07-04", "c1", 1))])
    load(root, "earnings", [earnings("b.csv", *((f"2023-07-0{day}", "c1", day) for day in (1, 2, 3, 6)))])
    load(root, "earnings", [earnings("c.csv", ("2023-07-02", "c1", 9))], replace=(date(2023, 7, 2), date(2023, 7, 3)))
    if compacted:
        compact(root, today=LATER)
    undo(root, undone.batch)
    new = earnings("d.csv", *((f"2023-07-0{day}", "c2", 1) for day in range(1, 7)))
    shown = preview(root, "earnings", [new])
    assert [(one.day.day, one.rows) for one in shown.shared_days] == [(1, 1), (2, 1), (6, 1)]
    assert load(root, "earnings", [new]).shared_days == shown.shared_days
    assert preview(root, "earnings", [new]).shared_days == ()


@pytest.mark.parametrize("compacted", thin_out([False, True], 2))
def test_a_replacement_counts_the_rows_that_it_removes(root: Path, earnings: Write, *, compacted: bool) -> None:
    """Rows of the days to replace alone, also where a month file holds others; its dry run counts the same."""
    rows = ((f"2023-07-0{day}", owner, day) for day in (1, 2, 3) for owner in ("a", "b"))
    load(root, "earnings", [earnings("a.csv", *rows)])
    if compacted:
        compact(root, today=LATER)
    new = earnings("n.csv", ("2023-07-02", "a", 9))
    assert preview(root, "earnings", [new], replace=JULY_2).removed == 2
    done = load(root, "earnings", [new], replace=JULY_2)
    assert (done.removed, done.shared_days) == (2, ())
