"""What a load tells of its rows: on days of other batches, removed by a replacement, or ahead of its clock."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from tests.cases import thin_out

from reelport.cli.main import main
from reelport.errors import BadInput
from reelport.facts.loading.compaction import compact
from reelport.facts.loading.conflicts import SharedDay, format_shared_days
from reelport.facts.loading.load import load
from reelport.facts.loading.preview import preview
from reelport.facts.loading.undo import undo

pytestmark = pytest.mark.long

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


Ask = Callable[..., list[tuple[object, ...]]]
NOW = datetime(2026, 11, 29, 4, 0, tzinfo=UTC)
REASON = "is more than a day later than now (2026-11-29)"


@pytest.fixture
def file(plays: Write) -> Path:
    """Plays of today, of tomorrow to the last moment that is taken, and of later ones."""
    moments = ["2026-11-29T23:00:00Z", "2026-11-30T00:00:00Z", "2026-11-30T04:00:00Z"]
    late = ["2026-11-30T04:00:01Z", "2027-11-29T10:00:00+01:00"]
    return plays("plays.csv", *((moment, "v1", "c1", 1) for moment in (*moments, *late)))


def test_rows_far_ahead_are_rejected_with_their_lines(root: Path, ask: Ask, file: Path) -> None:
    """And those of tomorrow are counted apart."""
    done = load(root, "plays", [file], now=NOW)
    assert (done.rows, done.rejects, done.later_rows) == (3, 2, 2)
    assert done.days == (date(2026, 11, 29), date(2026, 11, 30))
    assert done.rejects_file is not None
    kept = done.rejects_file.read_text()
    assert [line.split(",")[:2] for line in kept.splitlines()[1:]] == [[str(file), "5"], [str(file), "6"]]
    assert kept.count(REASON) == 2
    assert ask("plays", "SELECT count(*) FROM t") == [(3,)]


def test_a_dry_run_counts_what_the_load_would(root: Path, file: Path) -> None:
    """It names the reason, too, and tells none of later days once they are loaded."""
    shown = preview(root, "plays", [file], now=NOW)
    assert (shown.rows_to_load, shown.judged.rejects, shown.later_rows) == (3, 2, 2)
    (reason,) = shown.judged.reasons
    assert (reason.reason, reason.rows, reason.line) == (f"started_at: {REASON}", 2, 5)
    assert [row["problem"] is None for row in shown.rows] == [True, True, True, False, False]
    load(root, "plays", [file], now=NOW)
    assert preview(root, "plays", [file], now=NOW).later_rows == 0


def test_days_are_held_against_the_day_of_the_clock(root: Path, earnings: Write) -> None:
    """Tomorrow is taken, and the day after isn't; out of all range there is one reason."""
    file = earnings("e.csv", *((day, "c1", 1) for day in ("2026-11-30", "2026-12-01", "2200-01-01")))
    judged = preview(root, "earnings", [file], now=NOW).judged
    assert sorted(one.reason for one in judged.reasons) == [
        f"day: {REASON}",
        "day: is out of range (1970-01-01 to 2200-01-01)",
    ]
    assert list(judged.days) == [date(2026, 11, 30)]
    with pytest.raises(BadInput, match="more than a day later than now"):
        load(root, "earnings", [file], strict=True, now=NOW)


def test_without_a_clock_any_day_is_taken(root: Path, file: Path) -> None:
    """As programs load rows of days that they invent."""
    assert (load(root, "plays", [file]).rows, preview(root, "plays", [file]).later_rows) == (5, 0)


def test_objects_have_no_such_limit(root: Path, tmp_path: Path) -> None:
    """A video may be due in a year."""
    file = tmp_path / "videos.csv"
    file.write_text("id,title,owner_channel_id,created_at\nv1,One,c1,2027-11-29T10:00:00Z\n")
    done = load(root, "videos", [file], now=NOW)
    assert (done.rows, done.rejects, done.later_rows) == (1, 0, 0)
