"""Uploads are complete by the days of the videos themselves."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pyarrow as pa

from reelport.facts.loading.load import load_arrow
from reelport.facts.log.freshness import last_complete_day, tables_report
from reelport.facts.log.snapshot import pin

UPLOADED = pa.schema({"id": pa.string(), "owner_channel_id": pa.string(), "created_at": pa.timestamp("us", "UTC")})
TODAY = date(2026, 11, 29)
DAY = timedelta(days=1)
AT_NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def upload(root: Path, *moments: datetime | None) -> date | None:
    """Load a video of each of these moments; up to which day they are complete."""
    rows = [{"id": str(each), "owner_channel_id": "c1", "created_at": each} for each in moments]
    load_arrow(root, "videos", pa.Table.from_pylist(rows, UPLOADED), str(moments))
    found = {one.table: one for one in tables_report(root, TODAY)}["videos"]
    assert found.complete_to == last_complete_day(pin(root, ["videos"]), ["videos"], TODAY)
    return found.complete_to


def test_uploads_are_complete_up_to_the_newest_videos_day(root: Path) -> None:
    """That day itself once its last hour has a video; days without one are no gap, and one to come vouches for none."""
    assert upload(root, None) is None
    assert upload(root, AT_NOON - 90 * DAY, AT_NOON, None) == AT_NOON.date() - DAY
    assert upload(root, AT_NOON - DAY) == AT_NOON.date() - DAY
    assert upload(root, AT_NOON + timedelta(hours=11, minutes=30)) == AT_NOON.date()
    assert upload(root, datetime.combine(TODAY, time(0, 10), UTC)) == TODAY - DAY
    assert upload(root, datetime.combine(TODAY, time(23, 10), UTC)) == TODAY - DAY
    assert upload(root, AT_NOON + 90 * DAY) is None
