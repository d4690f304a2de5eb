"""A copy of a service's report has every day in the end, whichever order its facts came in."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from tests.fact_rows import make_earnings
from tests.patience import PATIENCE
from tests.warm_service import Service

from reelport import Client
from reelport.client.events import ignore_event
from reelport.facts.loading.compaction import compact
from reelport.facts.loading.load import load_arrow
from reelport.sync import sync_run
from reelport.sync.coverage import coverage_of
from reelport.sync.spec import Days, Kind, Place, Spec
from reelport.testing import Channel

from .conftest import break_after_download, kept
from .vendors import START, TODAY, YESTERDAY

pytestmark = pytest.mark.long

BEGUN = START - timedelta(days=7)
"""The first day with facts: more than two weeks of them come before the gap."""
GAP = START + timedelta(days=11)
"""A day whose load failed."""
END = YESTERDAY - timedelta(days=3)
"""The last day of which facts have come at first."""


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as service:
        service.organization("acme", [Channel("c1", "acme", "Acme")])
        yield service


def load(service: Service, days: Collection[date], name: str = "from") -> None:
    """Have one video earn a euro on each of these days, by whichever clock."""
    load_arrow(service.settings.facts_root, "earnings", make_earnings(days), f"{name}-{min(days)}")


def test_an_interrupted_window_has_the_numbers_of_the_run_that_takes_it_up(service: Service, tmp_path: Path) -> None:
    """A report that was downloaded and not loaded isn't loaded once its days have changed."""
    place = Place(Kind.DUCKDB, tmp_path / "copy.duckdb")
    earned = Spec("earned", ("ESTIMATED_EARNINGS_EUR",), ("DAY",), YESTERDAY, place, lookback=0, settle=1)
    key = service.key("acme")
    load(service, [YESTERDAY])
    with Client(service.url, key.id, key.secret, ledger=tmp_path / "ledger.db") as client:
        with pytest.raises(BrokenPipeError):
            sync_run.run([earned], client, tell=break_after_download, deadline=PATIENCE)
        load(service, [YESTERDAY], "more")
        sync_run.run([earned], client, tell=ignore_event, deadline=PATIENCE)
    assert kept(earned, "day, estimated_earnings_eur") == [(YESTERDAY, 2)]


@pytest.mark.parametrize("is_compacted", [False, True])
def test_a_copy_gets_days_that_come_after_later_ones(service: Service, tmp_path: Path, is_compacted: bool) -> None:
    """A row a year ahead vouches for no day, and a day without rows waits for its load, as do those after it."""
    place = Place(Kind.DUCKDB, tmp_path / "copy.duckdb")
    earned = Spec("earned", ("ESTIMATED_EARNINGS_EUR",), ("DAY",), START, place, lookback=0, settle=1, window=7)
    key = service.key("acme")
    ahead = TODAY + timedelta(days=365)
    load(service, [day for day in Days.between(BEGUN, END) if day != GAP])
    load(service, [ahead])
    if is_compacted:
        compact(service.settings.facts_root, today=ahead + timedelta(days=9), settled_after=0)
    with Client(service.url, key.id, key.secret, ledger=tmp_path / "ledger.db") as client:
        sync_run.run([earned], client, tell=ignore_event, deadline=PATIENCE)
        assert coverage_of(earned).verified == Days.between(START, GAP - timedelta(days=1))
        load(service, [GAP])
        sync_run.run([earned], client, tell=ignore_event, deadline=PATIENCE)
        assert coverage_of(earned).verified == Days.between(START, END)
        load(service, list(Days.between(END + timedelta(days=1), YESTERDAY)))
        sync_run.run([earned], client, tell=ignore_event, deadline=PATIENCE)
    assert [day for (day,) in kept(earned, "day")] == list(Days.between(START, YESTERDAY))
    assert coverage_of(earned).verified == Days.between(START, YESTERDAY)


def test_a_copy_of_uploads_settles(service: Service, tmp_path: Path) -> None:
    """Up to the day before the newest video's; of the days between some have no upload."""
    uploads = Spec(
        "uploads", ("UPLOADS",), ("DAY",), START, Place(Kind.DUCKDB, tmp_path / "u.duckdb"), lookback=0, settle=1
    )
    days = [START, START + timedelta(days=4), END]
    moments = [datetime.combine(day, time(12), UTC) for day in days]
    rows = {"id": [f"v{day}" for day in days], "owner_channel_id": ["c1"] * len(days), "created_at": moments}
    load_arrow(service.settings.facts_root, "videos", pa.table(rows), "videos")
    key = service.key("acme")
    with Client(service.url, key.id, key.secret, ledger=tmp_path / "ledger.db") as client:
        sync_run.run([uploads], client, tell=ignore_event, deadline=PATIENCE)
    assert coverage_of(uploads).verified == Days.between(START, END - timedelta(days=1))
    assert [day for (day,) in kept(uploads, "day")] == days
