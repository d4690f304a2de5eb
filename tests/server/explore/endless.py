"""Facts over which one view takes very long, and another none."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

import duckdb
import pytest
from tests.once import make_once

from reelport.catalog import Dimension, Grain, Metric
from reelport.engine.tenant import Tenant
from reelport.facts.loading.load import load_arrow
from reelport.server.explore.view import View

DAY = date(2026, 3, 1)
TENANT = Tenant(frozenset({"c1"}))
QUICK = View((Metric.VIEWS,), (Dimension.VISITOR_COUNTRY,), DAY, DAY, Metric.VIEWS, Grain.DAY)
# Each of 200,000 plays counts for each of 1,500 tags, and each of those has its different viewers counted.
ENDLESS = View((Metric.LIVE_VIEWERS,), (Dimension.CONTENT_TAG,), DAY, DAY, Metric.LIVE_VIEWERS, Grain.DAY)


_PLAYS = """
    SELECT
        TIMESTAMPTZ '2026-03-01 00:00:00+00' + to_hours(i % 24) AS started_at, 'v1' AS video_id, 'live' AS media_type,
        'c' || i % 2 AS owner_channel_id, 'FR' AS visitor_country,
        'viewer ' || CASE WHEN i % 2 = 1 THEN i % 10 ELSE i END AS viewer, 1 AS views, 7 AS time_watched_seconds
    FROM range(400000) t(i)
"""
_VIDEOS = "SELECT 'v1' AS id, 'c1' AS owner_channel_id, list_transform(range(1500), LAMBDA i: 't' || i) AS tags"


@pytest.fixture(scope="module")
def endless_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Plays of one live video that has very many tags: by five viewers of channel c1, by very many of channel c0."""
    data = tmp_path_factory.mktemp("data")
    shutil.copytree(make_once(tmp_path_factory, "endless", _load), data / "facts")
    return data


def _load(root: Path) -> None:
    with duckdb.connect() as session:
        session.execute("SET TimeZone = 'UTC'")
        for name, sql in (("plays", _PLAYS), ("videos", _VIDEOS)):
            load_arrow(root, name, session.sql(sql).to_arrow_table(), "by hand")
