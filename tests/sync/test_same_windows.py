"""A sync and a range cut alike: whatever fails, both ask for the same windows and come to the same days."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from reelport import Client, Partial, ReportFailed
from reelport.client.events import Bisected, Event
from reelport.sync import sync_run
from reelport.sync.coverage import coverage_of
from reelport.sync.events import OfWindow, SyncEvent
from reelport.sync.spec import Days, Kind, Place, Spec
from reelport.testing import Vendor

from .vendors import YESTERDAY, Numbers

bad_days = st.sets(st.integers(0, 44), max_size=4)


@given(count=st.integers(1, 45), bad=bad_days, set_to=st.sampled_from([None, 9, 31]), longest=st.integers(7, 50))
@settings(max_examples=max(settings().max_examples // 7, 2))
def test_a_sync_and_a_range_come_to_the_same_days(count: int, bad: set[int], set_to: int | None, longest: int) -> None:
    """Whatever days fail and however long windows may be; up to two days that fail cost no other day."""
    start = YESTERDAY - timedelta(count - 1)
    fails = Days.of((day, day) for day in (start + timedelta(each) for each in bad if each < count))
    limit = max(longest, set_to or 0)
    with TemporaryDirectory() as name:
        place = Place(Kind.DUCKDB, Path(name) / "copy.duckdb")
        spec = Spec("views", ("VIEWS",), ("DAY",), start, place, lookback=0)
        with _connect(fails, limit, set_to) as (vendor, client):
            synced = _sync(client, spec), vendor.asks
        with _connect(fails, limit, set_to) as (vendor, client):
            ranged = _fetch_range(client, spec, Path(name) / "windows"), vendor.asks
    assert synced == ranged
    (days, _), _ = synced
    others = Days.between(start, YESTERDAY) - fails
    assert days == others if len(fails) <= 2 else not (days - others).spans


@contextmanager
def _connect(fails: Days, longest: int, set_to: int | None) -> Iterator[tuple[Vendor, Client]]:
    """A vendor that fails on these days, and a client that asks for one report at a time."""
    with Vendor(csv=Numbers().csv) as vendor, Client(vendor.url, vendor.key, vendor.secret, ledger=False) as client:
        vendor.longest = longest
        vendor.fails = lambda wire: any(wire["startDate"] <= str(day) <= wire["endDate"] for day in fails)
        yield vendor, client.with_options(slots=1, windows=set_to)


def _sync(client: Client, spec: Spec) -> tuple[Days, list[tuple[date, date, date]]]:
    """The days that a sync reads for good, and what it halves."""
    heard: list[SyncEvent] = []
    with suppress(Partial, ReportFailed):
        sync_run.run([spec], client, tell=heard.append, deadline=300)
    events = [event.event for event in heard if isinstance(event, OfWindow)]
    return coverage_of(spec).verified, _halvings(events)


def _fetch_range(client: Client, spec: Spec, to: Path) -> tuple[Days, list[tuple[date, date, date]]]:
    """The days of the files that a range leaves, and what it halves."""
    heard: list[Event] = []
    query = spec.query(spec.start, YESTERDAY)
    with suppress(Partial, ReportFailed):
        client.reports.run_range(query, to, progress=heard.append, deadline=300, keep_windows=True)
    spans = [map(date.fromisoformat, path.stem.split("_")) for path in to.glob("*.csv")]
    return Days.of((first, last) for first, last in spans), _halvings(heard)


def _halvings(events: list[Event]) -> list[tuple[date, date, date]]:
    return [(event.start, event.end, event.middle) for event in events if isinstance(event, Bisected)]
