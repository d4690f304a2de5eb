"""The first hours and days of a video, beside the medians of its channel's last videos that are as old."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from statistics import median

import pyarrow as pa
import pytest

from reelport.catalog import Dimension, Metric
from reelport.engine.tenant import Tenant
from reelport.facts.loading.load import load_arrow
from reelport.server.explore.numbers import FirstDays, OverBudget, Window
from reelport.server.explore.view_engine import ViewEngine
from reelport.server.settings import read_settings

MINE = Tenant(frozenset({"c1"}))
COMPLETE = date(2026, 1, 1), date(2026, 3, 1)
METRICS = (Metric.VIEWS, Metric.TIME_WATCHED_SECONDS)
WINDOWS = (24, 168, 672)
# Videos of one channel and one of another's, every other day; each was uploaded some minutes after a full hour.
BORN = {
    **{f"v{number}": datetime(2026, 1, 2, 5, 40, tzinfo=UTC) + timedelta(days=2 * number) for number in range(28)},
    "foreign": datetime(2026, 1, 3, 5, 40, tzinfo=UTC),
    "earlier": datetime(2025, 12, 30, 5, 40, tzinfo=UTC),
}
PLAYS = [
    (video, born.replace(minute=0) + timedelta(hours=hours), place + 1)
    for place, (video, born) in enumerate(BORN.items())
    for hours in (0, 1, 23, 24, 167, 168, 671, 672, 900)
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with these videos and their plays."""
    folder = tmp_path_factory.mktemp("born")
    owner = dict.fromkeys(BORN, "c1") | {"foreign": "c2"}
    videos = [
        {
            "id": video,
            "title": video.upper(),
            "owner_channel_id": owner[video],
            "created_at": f"{born:%Y-%m-%dT%H:%M:%S}",
        }
        for video, born in BORN.items()
    ]
    plays = [
        {"started_at": f"{moment:%Y-%m-%dT%H:%M:%S}", "owner_channel_id": owner[video], "video_id": video}
        | {"media_type": "video", "views": views, "time_watched_seconds": 10 * views}
        for video, moment, views in PLAYS
    ]
    load_arrow(folder / "facts", "videos", pa.Table.from_pylist(videos), "videos")
    load_arrow(folder / "facts", "plays", pa.Table.from_pylist(plays), "plays")
    return folder


@pytest.fixture(scope="module")
def engine(data: Path) -> Iterator[ViewEngine]:
    engine = ViewEngine(read_settings(data=data), threads=1)
    yield engine
    engine.close()


def compute(engine: ViewEngine, video: str, tenant: Tenant = MINE) -> FirstDays | OverBudget | None:
    session = engine.open_session()
    try:
        return engine.compute_first_days(session, video, Dimension.VIDEO_ID, METRICS, tenant, COMPLETE)
    finally:
        session.close()


def count_views(video: str, hours: int) -> int:
    """Count the views of the video within so many hours since the full hour before its upload."""
    born = BORN[video].replace(minute=0)
    found = [views for each, moment, views in PLAYS if each == video and moment < born + timedelta(hours=hours)]
    return sum(found)


def is_old(video: str, hours: int) -> bool:
    return BORN[video] + timedelta(hours=hours) <= datetime(2026, 3, 2, tzinfo=UTC)


@pytest.mark.parametrize("video", ["v3", "v20", "v27"])
def test_first_days_are_compared_with_the_last_videos_of_the_channel_that_are_as_old(
    engine: ViewEngine, video: str
) -> None:
    """A window that isn't over has no number; each has its own peers, and none of another channel's."""
    found = compute(engine, video)
    assert isinstance(found, FirstDays)
    assert found.born == BORN[video].replace(tzinfo=None)
    expected = []
    for hours in WINDOWS:
        others = [each for each in BORN if each[0] == "v" and each != video and is_old(each, hours)]
        peers = sorted(others, key=lambda each: BORN[each], reverse=True)[:10]
        usual = Decimal(median(count_views(each, hours) for each in peers))
        own = count_views(video, hours)
        numbers = (own, 10 * own) if is_old(video, hours) else None
        expected.append(Window(hours, numbers, (usual, 10 * usual), 10))
    assert found.windows == tuple(expected)


def test_a_video_that_was_there_before_the_data_has_no_first_days(engine: ViewEngine) -> None:
    """Half a window would read as a bad start."""
    found = compute(engine, "earlier")
    assert isinstance(found, FirstDays)
    assert [each.own for each in found.windows] == [None] * 3


@pytest.mark.parametrize("video", ["foreign", "nowhere", "v1' OR '1'='1"])
def test_a_foreign_video_is_unknown(engine: ViewEngine, video: str) -> None:
    """Neither its upload nor its title is told."""
    assert compute(engine, video) is None


def test_first_days_keep_the_read_budget(data: Path) -> None:
    """What would read more than a page may is missing, and says so."""
    engine = ViewEngine(read_settings(data=data, explore_rows=10), threads=1)
    try:
        found = compute(engine, "v3")
    finally:
        engine.close()
    assert isinstance(found, OverBudget)
