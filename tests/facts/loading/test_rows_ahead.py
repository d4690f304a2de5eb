"""Rows ahead of the load's clock: by up to a day they are loaded and told, by more they are bad rows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from reelport.errors import BadInput
from reelport.facts.loading.load import load
from reelport.facts.loading.preview import preview

Write = Callable[..., Path]
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
    assert [why is None for why in shown.reasons] == [True, True, True, False, False]
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
