"""Each fact table tells up to which day it is complete, and when it was loaded last; uploads go by the videos' days."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pyarrow as pa

from reelport.facts.loading.load import load, load_arrow
from reelport.facts.loading.undo import undo
from reelport.facts.log.freshness import (
    COUNTED,
    Freshness,
    find_freshness,
    last_complete_day,
    read_freshness,
    tables_report,
)
from reelport.facts.log.history import list_loads
from reelport.facts.log.snapshot import pin

Write = Callable[..., Path]
TODAY = date(2023, 9, 1)
UPLOADED = pa.schema({"id": pa.string(), "owner_channel_id": pa.string(), "created_at": pa.timestamp("us", "UTC")})
UPLOADS_TODAY = date(2026, 11, 29)
DAY = timedelta(days=1)
AT_NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_a_table_that_nothing_was_loaded_into_is_complete_to_no_day(root: Path) -> None:
    """It has no load either."""
    assert read_freshness(root, TODAY) == {table: Freshness(table, None, None) for table in COUNTED}


def test_each_table_has_days_and_loads_of_its_own(root: Path, plays: Write, earnings: Write) -> None:
    """Plays of a day that has not had its last hour are not complete; earnings have whole days."""
    load(root, "plays", [plays("a.csv", ("2023-07-01T00:10", "v", "c", 1), ("2023-07-02T22:00", "v", "c", 1))])
    load(root, "earnings", [earnings("e.csv", ("2023-06-30", "c", "1"))])
    fresh = read_freshness(root, TODAY)
    assert {name: fresh[name].complete for name in ("plays", "earnings", "ads")} == {
        "plays": date(2023, 7, 1),
        "earnings": date(2023, 6, 30),
        "ads": None,
    }
    assert fresh["plays"].loaded == list_loads(root, "plays")[-1].at is not None


def test_a_load_that_was_undone_is_not_the_last(root: Path, plays: Write) -> None:
    """The one before it stands, with its days."""
    load(root, "plays", [plays("a.csv", ("2023-07-01T23:10", "v", "c", 1))])
    before = read_freshness(root, TODAY)["plays"]
    load(root, "plays", [plays("b.csv", ("2023-07-02T23:10", "v", "c", 1))])
    assert read_freshness(root, TODAY)["plays"] != before
    undo(root, list_loads(root, "plays")[-1].batch)
    assert read_freshness(root, TODAY)["plays"] == before


def test_a_snapshot_tells_the_freshness_of_its_versions(root: Path, plays: Write) -> None:
    """Later loads don't show in it."""
    load(root, "plays", [plays("a.csv", ("2023-07-01T23:10", "v", "c", 1))])
    pinned = pin(root, ["plays", "videos"])
    before = find_freshness(pinned, TODAY)
    assert set(before) == {"plays", "videos"}
    load(root, "plays", [plays("b.csv", ("2023-07-02T23:10", "v", "c", 1))])
    assert find_freshness(pinned, TODAY) == before


def upload(root: Path, *moments: datetime | None) -> date | None:
    """Load a video of each of these moments; up to which day they are complete."""
    rows = [{"id": str(each), "owner_channel_id": "c1", "created_at": each} for each in moments]
    load_arrow(root, "videos", pa.Table.from_pylist(rows, UPLOADED), str(moments))
    found = {one.table: one for one in tables_report(root, UPLOADS_TODAY)}["videos"]
    assert found.complete_to == last_complete_day(pin(root, ["videos"]), ["videos"], UPLOADS_TODAY)
    return found.complete_to


def test_uploads_are_complete_up_to_the_newest_videos_day(root: Path) -> None:
    """That day itself once its last hour has a video; days without one are no gap, and one to come vouches for none."""
    assert upload(root, None) is None
    assert upload(root, AT_NOON - 90 * DAY, AT_NOON, None) == AT_NOON.date() - DAY
    assert upload(root, AT_NOON - DAY) == AT_NOON.date() - DAY
    assert upload(root, AT_NOON + timedelta(hours=11, minutes=30)) == AT_NOON.date()
    assert upload(root, datetime.combine(UPLOADS_TODAY, time(0, 10), UTC)) == UPLOADS_TODAY - DAY
    assert upload(root, datetime.combine(UPLOADS_TODAY, time(23, 10), UTC)) == UPLOADS_TODAY - DAY
    assert upload(root, AT_NOON + 90 * DAY) is None
