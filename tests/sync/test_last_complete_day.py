"""Days that were never complete are not taken for good; days are read again by name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from tests.fact_rows import make_earnings
from tests.patience import PATIENCE
from tests.warm_service import Service

from reelport import Client, ReportQuery
from reelport.client.events import ignore_event
from reelport.errors import ReelportError, UsageError
from reelport.facts.loading.load import load_arrow
from reelport.facts.log.freshness import tables_report
from reelport.sync import sync_run
from reelport.sync.coverage import coverage_of
from reelport.sync.destinations import CURRENT, MANIFEST
from reelport.sync.spec import Days, Kind, Place, Spec
from reelport.testing import Channel, Vendor
from reelport.wire import NO_DAY

from .conftest import kept
from .vendors import START, TODAY, YESTERDAY, Numbers, asked, expected

END = TODAY - timedelta(days=10)
"""The last day of which facts have come at first."""


def load(service: Service, first: date, last: date) -> None:
    """Have one video earn a euro on each of these days."""
    rows = make_earnings(list(Days.between(first, last)))
    load_arrow(service.settings.facts_root, "earnings", rows, f"b-{first}")


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with Service() as service:
        service.organization("acme", [Channel("c1", "acme", "Acme")])
        yield service


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    """A report whose days are read once, unless they aren't complete."""
    place = Place(Kind.DUCKDB, tmp_path / "copy.duckdb")
    return Spec("views", ("VIEWS",), ("DAY",), START, place, lookback=0, settle=1, window=7)


def run(client: Client, *specs: Spec, start: date | None = None, end: date | None = None) -> None:
    sync_run.run(specs, client, tell=ignore_event, deadline=PATIENCE, start=start, end=end)


@pytest.mark.long
def test_late_facts_of_a_service_reach_the_copy(service: Service, spec: Spec, tmp_path: Path) -> None:
    """Days beyond the last complete one stay unverified, and a file says the day of its own facts for ever."""
    load(service, START, END)
    key = service.key("acme")
    earned = replace(spec, metrics=("ESTIMATED_EARNINGS_EUR",), name="earned")
    both = replace(earned, metrics=("ESTIMATED_EARNINGS_EUR", "VIEWS"), name="both")
    query = ReportQuery.of(["ESTIMATED_EARNINGS_EUR"], ["DAY"], START, YESTERDAY)
    with Client(service.url, key.id, key.secret, ledger=tmp_path / "ledger.db") as client:
        run(client, earned, both)
        assert coverage_of(earned).verified == Days.between(START, END)
        assert coverage_of(earned).moving == Days.between(END + timedelta(days=1), YESTERDAY)
        assert not coverage_of(both).verified.spans, "no day is complete in a table without facts"
        report = client.reports.submit(query)
        report.wait(deadline=PATIENCE)
        late = TODAY - timedelta(days=4)
        load(service, END + timedelta(days=1), late)
        run(client, earned)
        assert [day for (day,) in kept(earned, "day")] == list(Days.between(START, late))
        assert coverage_of(earned).verified == Days.between(START, late)
        done = report.download(tmp_path / "before.csv")
        ranged = client.with_options(windows=7).reports.run_range(query, tmp_path / "after.csv")
    said = {name: json.loads((tmp_path / f"{name}.csv.json").read_text()) for name in ("before", "after")}
    assert (done.last_complete_day, said["before"]["last_complete_day"]) == (END, END.isoformat())
    assert (ranged.last_complete_day, said["after"]["last_complete_day"]) == (late, late.isoformat())
    assert {one.table: one.complete_to for one in tables_report(service.settings.facts_root, TODAY)}["earnings"] == late


def test_empty_days_up_to_today_are_not_taken_for_good(
    client: Client, vendor: Vendor, numbers: Numbers, spec: Spec, place: Place
) -> None:
    """A vendor says nothing of its facts: days after the last row are read again, gaps before it are not."""
    spec = replace(spec, place=place)
    gap = START + timedelta(days=6)
    numbers.empty = {gap, *Days.between(END + timedelta(days=1), YESTERDAY)}
    run(client, spec)
    assert coverage_of(spec).verified == Days.between(START, END)
    assert coverage_of(spec).moving == Days.between(END + timedelta(days=1), YESTERDAY)
    numbers.empty = {gap}
    before = len(vendor.asks)
    run(client, spec)
    assert kept(spec, "day, views") == expected(numbers)
    assert sorted(asked(vendor)[before:]) == ["2-1", "9-3"]
    assert coverage_of(spec).verified == Days.between(START, YESTERDAY)


def test_a_copy_without_any_row_is_read_again(client: Client, numbers: Numbers, spec: Spec) -> None:
    """Nothing shows that its days are empty for good."""
    numbers.empty = set(Days.between(START, YESTERDAY))
    run(client, spec)
    assert not coverage_of(spec).verified.spans
    numbers.empty.clear()
    run(client, spec)
    assert kept(spec, "day, views") == expected(numbers)


def test_empty_days_that_a_service_vouches_for_are_read_once(
    client: Client, vendor: Vendor, numbers: Numbers, spec: Spec
) -> None:
    """Where it says the last complete day, a partner without views has days for good all the same."""
    vendor.last_complete_day = lambda _: YESTERDAY - timedelta(days=1)
    numbers.empty = set(Days.between(END, YESTERDAY))
    run(client, spec)
    assert coverage_of(spec).verified == Days.between(START, YESTERDAY - timedelta(days=1))
    monthly = replace(spec, name="monthly", dimensions=("MONTH",), start=(START - timedelta(days=40)).replace(day=1))
    vendor.csv = lambda wire: f"month,views\n{wire['startDate'][:7]},1\n".encode()
    first = monthly.start
    vendor.last_complete_day = lambda _: first + timedelta(days=44)
    run(client, replace(monthly, window=31))
    assert coverage_of(monthly).verified == Days.between(
        first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    )
    vendor.last_complete_day = lambda _: NO_DAY
    run(client, replace(monthly, window=31, name="none"))
    assert not coverage_of(replace(monthly, name="none")).verified.spans


def test_a_state_of_an_older_version_is_put_right(
    client: Client, vendor: Vendor, numbers: Numbers, spec: Spec, tmp_path: Path
) -> None:
    """It knew nothing of complete days, and had taken empty ones for good: those are read once more."""
    spec = replace(spec, place=Place(Kind.PARQUET, tmp_path / "copy"))
    numbers.empty = set(Days.between(END + timedelta(days=1), YESTERDAY))
    run(client, spec)
    file = spec.place.path / spec.name / CURRENT / MANIFEST
    manifest = json.loads(file.read_text())
    del manifest["state"]["vouched"]
    manifest["state"]["verified"] = [[START.isoformat(), YESTERDAY.isoformat()]]
    file.write_text(json.dumps(manifest))
    numbers.empty.clear()
    before = len(vendor.asks)
    run(client, spec)
    assert kept(spec, "day, views") == expected(numbers)
    assert len(vendor.asks) == before + 2


def test_a_range_is_read_again_by_name(client: Client, vendor: Vendor, numbers: Numbers, spec: Spec) -> None:
    """Verified days of it too and no others, from here to there or to the end; what fails is left to the next run."""
    run(client, spec)
    before = len(vendor.asks)
    restated, other = START + timedelta(days=3), START + timedelta(days=12)
    numbers.changed = {restated: 1, other: 2}
    run(client, spec, start=restated - timedelta(days=1), end=restated)
    assert asked(vendor)[before:] == ["18-17"]
    assert kept(spec, "day, views") == [(day, 1 if day == restated else day.toordinal()) for day in days(spec)]
    vendor.fails = 9
    with pytest.raises(ReelportError):
        run(client, spec, start=other, end=other)
    vendor.fails = 0
    before = len(vendor.asks)
    run(client, spec)
    assert asked(vendor)[before:] == ["8-8"]
    assert kept(spec, "day, views") == expected(numbers)
    run(client, spec, start=YESTERDAY - timedelta(days=1))
    run(client, spec, end=START)
    assert asked(vendor)[before + 1 :] == ["2-1", "20-20"]


def days(spec: Spec) -> Days:
    return Days.between(spec.start, YESTERDAY)


def test_a_range_that_no_copy_keeps_is_refused(client: Client, vendor: Vendor, spec: Spec) -> None:
    """Each copy is named with the days that it is of, and nothing is asked for; so are a range and all at once."""
    early = START - timedelta(days=1)
    with pytest.raises(UsageError, match=r"(?s)views: none of these days.*other: none") as error:
        run(client, spec, replace(spec, name="other"), end=early)
    assert str(START) in str(error.value)
    with pytest.raises(UsageError, match="one of both"):
        sync_run.run([spec], client, tell=ignore_event, start=early, every_day=True)
    assert not vendor.asks
    assert not spec.place.path.exists()
