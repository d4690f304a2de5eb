"""Runs over a real socket, against a vendor that behaves or doesn't: what is asked for, what is kept, what is said."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.cases import thin_out

from reelport import Client, QueryRefused, SchemaDrift
from reelport.client.events import ignore_event
from reelport.client.files.sidecar import name_sidecar
from reelport.client.ranges.windows import Window
from reelport.errors import AskLost, Partial, RepeatedRows, ReportFailed, ServiceError, UsageError, WindowEmptied
from reelport.sync import comparison, sync_run
from reelport.sync.coverage import coverage_of
from reelport.sync.destinations import open_destination
from reelport.sync.events import Failed, Loaded, Planned, SyncEvent
from reelport.sync.spec import Contract, Days, Kind, Place, Spec
from reelport.sync.staging import Delivery
from reelport.testing import Vendor

from .conftest import break_after_download, kept
from .vendors import START, TODAY, YESTERDAY, Numbers, asked, expected

Heard = list[SyncEvent]


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    place = Place(Kind.DUCKDB, tmp_path / "copy.duckdb")
    return Spec("views", ("VIEWS",), ("DAY",), START, place, lookback=3, settle=1, window=10)


@pytest.fixture
def run(client: Client) -> Callable[..., Heard]:
    """Run specs, and hear what is told."""

    def go(*specs: Spec, allow_empty: bool = False, every_day: bool = False) -> Heard:
        heard: Heard = []
        sync_run.run(specs, client, tell=heard.append, deadline=300, allow_empty=allow_empty, every_day=every_day)
        return heard

    return go


Run = Callable[..., Heard]


def test_a_copy_is_kept_up_to_date(run: Run, vendor: Vendor, numbers: Numbers, spec: Spec) -> None:
    """First all, in windows; then only days that still moved, with what was restated, vanished or came."""
    run(spec)
    assert sorted(asked(vendor)) == ["10-1", "20-11"]
    assert kept(spec, "day, views") == expected(numbers)
    numbers.changed[TODAY - timedelta(days=2)] = 5
    numbers.empty.add(TODAY - timedelta(days=3))
    heard = run(spec)
    assert asked(vendor)[2:] == ["3-1"]
    assert kept(spec, "day, views") == expected(numbers)
    (loaded,) = [event for event in heard if isinstance(event, Loaded)]
    assert (loaded.before, loaded.rows) == (3, 2)
    earlier = replace(spec, start=START - timedelta(days=5))
    run(earlier)
    assert sorted(asked(vendor)[3:]) == ["25-21", "3-1"]
    assert kept(spec, "day, views") == expected(numbers, earlier.start)
    assert sorted(path.name for path in spec.place.work_folder.iterdir()) == ["lock", "views.success"]


def test_a_copy_that_is_up_to_date_asks_for_nothing(run: Run, vendor: Vendor, spec: Spec) -> None:
    """With a lookback of none every day is read once; with `every_day` every day is read once more."""
    still = replace(spec, lookback=0)
    run(still)
    assert run(still) == [Planned("views", ())]
    assert len(vendor.asks) == 2
    run(still, every_day=True)
    assert len(vendor.asks) == 4


def test_days_that_moved_are_not_verified(run: Run, spec: Spec) -> None:
    """Standing tells days that are read for good from those that are read again, and from those that are missing."""
    before = coverage_of(spec)
    assert (len(before.missing), len(before.verified), before.rows) == (20, 0, 0)
    run(spec)
    found = coverage_of(spec)
    assert found.verified == Days.between(START, TODAY - timedelta(days=4))
    assert found.moving == Days.between(TODAY - timedelta(days=3), YESTERDAY)
    assert (len(found.missing), found.rows, found.outdated) == (0, 20, False)
    tomorrow = coverage_of(spec, TODAY + timedelta(days=1))
    assert tomorrow.missing == Days.between(TODAY, TODAY)
    assert coverage_of(replace(spec, metrics=("VIEWS", "UPLOADS"))).outdated


def test_an_emptied_window_stops_unless_it_is_allowed(run: Run, vendor: Vendor, numbers: Numbers, spec: Spec) -> None:
    """The copy is as it was until rows are back or may vanish; each run asks anew, so that it sees them."""
    run(spec)
    before = kept(spec, "day, views")
    numbers.empty |= set(Days.between(TODAY - timedelta(days=3), YESTERDAY))
    with pytest.raises(WindowEmptied):
        run(spec)
    assert kept(spec, "day, views") == before
    numbers.empty.remove(YESTERDAY)
    run(spec)
    assert kept(spec, "day, views") == expected(numbers)
    numbers.empty.add(YESTERDAY)
    run(spec, allow_empty=True)
    assert kept(spec, "day, views") == expected(numbers)
    assert asked(vendor)[2:] == ["3-1"] * 3


def test_a_window_that_fails_lets_the_others_through(
    run: Run, client: Client, vendor: Vendor, numbers: Numbers, spec: Spec
) -> None:
    """It is read in halves; Partial says which day is bad, that day stays missing, and the next run reads it alone."""
    bad = TODAY - timedelta(days=7)
    vendor.fails = lambda wire: wire["startDate"] <= bad.isoformat() <= wire["endDate"]
    heard: Heard = []
    with pytest.raises(Partial, match="not loaded: 1"):
        sync_run.run([spec], client, tell=heard.append, deadline=300)
    assert [str(event.window) for event in heard if isinstance(event, Failed)] == [f"{bad}..{bad}"]
    assert coverage_of(spec).missing == Days.between(bad, bad)
    vendor.fails = 0
    count = len(vendor.asks)
    run(spec)
    assert sorted(asked(vendor)[count:]) == ["3-1", "7-7"]
    assert kept(spec, "day, views") == expected(numbers)


def test_the_first_windows_error_is_raised_where_nothing_was_loaded(run: Run, vendor: Vendor, spec: Spec) -> None:
    """A run that came to nothing says why, and not that it is partly done."""
    vendor.fails = 100
    with pytest.raises(ReportFailed):
        run(spec)
    assert not spec.place.path.exists()


def test_columns_that_drift_go_by_the_contract(run: Run, client: Client, numbers: Numbers, spec: Spec) -> None:
    """A vendor that adds a column: evolve takes it and says so; freeze stops until a report has none."""
    numbers.columns, numbers.more = "day,views,bots", ",1"
    frozen = replace(spec, name="frozen", product="ALL", contract=Contract.FREEZE)
    with pytest.raises(SchemaDrift):
        run(frozen)
    numbers.columns, numbers.more = "day,views", ""
    run(frozen)
    numbers.columns, numbers.more = "day,views,bots", ",1"
    with pytest.warns(UserWarning, match="views: new column bots"):
        sync_run.run([spec], client, deadline=300)
    assert kept(spec, "DISTINCT bots") == [("1",)]
    assert kept(spec, "day, views") == expected(numbers)


@pytest.mark.parametrize("contract", thin_out(list(Contract), 2))
def test_columns_in_another_order_are_taken_by_name(
    run: Run, client: Client, vendor: Vendor, numbers: Numbers, spec: Spec, contract: Contract
) -> None:
    """A copy has no order of columns: whatever its contract, nothing has drifted, and nothing is said of it."""
    run(ordered := replace(spec, contract=contract))
    vendor.csv = lambda wire: b"".join(
        b",".join(reversed(line.split(b","))) + b"\n" for line in numbers.csv(wire).splitlines()
    )
    sync_run.run([ordered], client, every_day=True)
    assert kept(spec, "day, views") == expected(numbers)


def test_a_report_that_cannot_be_loaded_does_not_stand_in_the_way(run: Run, numbers: Numbers, spec: Spec) -> None:
    """Once the vendor has mended what it sends, the same command loads it."""
    numbers.more = ",7"
    with pytest.raises(ServiceError, match="can't be read"):
        run(spec)
    numbers.more = ""
    run(spec)
    assert kept(spec, "day, views") == expected(numbers)


def test_copies_of_another_service_are_not_mixed(run: Run, spec: Spec, tmp_path: Path) -> None:
    """A run from elsewhere is refused until it reads every day again."""
    run(spec)
    with Vendor() as other, Client(other.url, other.key, other.secret, ledger=tmp_path / "other.db") as stranger:
        with pytest.raises(UsageError, match=r"holds rows from http.*sync run --every-day, with the --url, --profile"):
            sync_run.run([spec], stranger, tell=ignore_event, deadline=300)
        with pytest.raises(UsageError, match="holds rows from"):
            comparison.verify(spec, stranger, tell=ignore_event)
        sync_run.run([spec], stranger, tell=ignore_event, deadline=300, every_day=True)
        assert open_destination(spec.place).state(spec).service == other.url
    assert len(coverage_of(spec).missing) == 0


@pytest.mark.long
@pytest.mark.parametrize("kind", Kind)
def test_a_run_that_reads_all_days_again_is_taken_up_by_the_next(
    run: Run, vendor: Vendor, numbers: Numbers, spec: Spec, kind: Kind
) -> None:
    """Verified days that it has not come to are read by the next run, which need not be told."""
    spec = replace(spec, place=Place(kind, spec.place.path), window=6)
    run(spec)
    for back in (20, 10):
        numbers.changed[TODAY - timedelta(days=back)] = 5
    vendor.fails = lambda wire: wire["startDate"] <= str(TODAY - timedelta(days=10)) <= wire["endDate"]
    with pytest.raises(Partial):
        run(spec, every_day=True)
    vendor.fails = 0
    run(spec)
    assert kept(spec, "day, views") == expected(numbers)
    assert len(coverage_of(spec).moving) == 3


def test_a_report_that_was_not_loaded_serves_the_next_run(
    run: Run, client: Client, vendor: Vendor, numbers: Numbers, spec: Spec
) -> None:
    """A run that fails after the download asks another vendor for nothing again, even where its days still move."""
    with pytest.raises(BrokenPipeError):
        sync_run.run([replace(spec, window=180)], client, tell=break_after_download, deadline=300)
    assert asked(vendor) == ["20-1"]
    run(replace(spec, window=180))
    assert asked(vendor) == ["20-1"]
    assert kept(spec, "day, views") == expected(numbers)


def test_a_file_whose_sidecar_is_gone_is_downloaded_again(
    client: Client, vendor: Vendor, spec: Spec, tmp_path: Path
) -> None:
    """Nothing else says which report it is, and when that was asked for: from then on its days are known."""

    def fetch() -> Delivery:
        flow = sync_run.fetch_window(
            client.session, spec, Window(START, TODAY), tmp_path, ignore_event, deadline=300, fresh=False
        )
        return client.drive(flow)

    first = fetch()
    assert (fetch(), vendor.downloads) == (first, 1)
    name_sidecar(first.file).unlink()
    assert (fetch(), vendor.downloads) == (first, 2)
    assert len(vendor.asks) == 1


def test_verify_shows_how_far_numbers_moved_and_changes_nothing(
    run: Run, client: Client, numbers: Numbers, spec: Spec
) -> None:
    """By day: rows gone and come, sums before and now; and the lookback that would have caught them."""
    run(spec)
    before, state = kept(spec, "*"), open_destination(spec.place).state(spec)
    assert comparison.verify(spec, client, tell=ignore_event).moved == ()
    late, lost = TODAY - timedelta(days=6), TODAY - timedelta(days=2)
    numbers.changed[late] = 1
    numbers.empty.add(lost)
    found = comparison.verify(spec, client, tell=ignore_event)
    assert [(each.day, each.verified, each.before, each.now, each.gone, each.come) for each in found.moved] == [
        (late, True, 1, 1, 1, 1),
        (lost, False, 1, 0, 1, 0),
    ]
    assert found.moved[0].sums == {"views": (late.toordinal(), 1)}
    assert (found.lookback, found.days) == (6, 14)
    assert (kept(spec, "*"), open_destination(spec.place).state(spec)) == (before, state)
    assert (
        len(comparison.verify(spec, client, tell=ignore_event, start=START, end=START + timedelta(days=3)).moved) == 0
    )
    with pytest.raises(UsageError, match="none of the days"):
        comparison.verify(spec, client, tell=ignore_event, start=TODAY, end=TODAY)


def test_verify_compares_every_day_that_is_named(
    run: Run, client: Client, vendor: Vendor, numbers: Numbers, spec: Spec
) -> None:
    """In as many windows as they need; days that the copy doesn't have are told."""
    run(spec)
    numbers.changed[START] = 1
    before = len(asked(vendor))
    found = comparison.verify(spec, client, tell=ignore_event, start=START - timedelta(days=2), end=TODAY)
    assert [each.day for each in found.moved] == [START]
    assert found.days == 20
    assert sorted(asked(vendor)[before:]) == ["10-1", "20-11"]
    assert found.absent == Days.of([(START - timedelta(days=2), START - timedelta(days=1)), (TODAY, TODAY)])


def test_rows_that_repeat_a_day_are_told_with_advice_that_helps_a_sync(
    run: Run, vendor: Vendor, numbers: Numbers, spec: Spec
) -> None:
    """They are loaded from no file whose end nothing proves; once the vendor has mended them the next run asks anew."""
    vendor.etag, vendor.csv = False, lambda wire: numbers.csv(wire) + numbers.csv(wire).splitlines(keepends=True)[-1]
    with pytest.raises(RepeatedRows, match=r"Tell the service: the same command asks for the report anew"):
        run(spec)
    assert not open_destination(spec.place).state(spec).present.spans
    vendor.csv = numbers.csv
    run(spec)
    assert (kept(spec, "day, views"), len(vendor.asks)) == (expected(numbers), 4)


def test_rows_that_repeat_a_day_beside_a_new_column_name_their_report(
    run: Run, vendor: Vendor, numbers: Numbers, spec: Spec
) -> None:
    """The copy finds them while it loads: the error has the token by which the service finds the report."""
    numbers.columns, numbers.more = "day,views,new", ",1"
    vendor.csv = lambda wire: numbers.csv(wire) + numbers.csv(wire).splitlines(keepends=True)[-1]
    with pytest.raises(RepeatedRows) as caught:
        run(replace(spec, window=180))
    assert [caught.value.token] == vendor.tokens


def test_an_ask_whose_answer_is_lost_is_not_repeated(run: Run, vendor: Vendor, spec: Spec) -> None:
    """The other windows go on; the next run doesn't ask for the lost one either, as it may be in the making."""
    vendor.loses_ask = "after"
    with pytest.raises(Partial, match="not loaded: 1"):
        run(spec)
    (lost,) = {"20-11", "10-1"} - {"10-1" if YESTERDAY in coverage_of(spec).moving else "20-11"}
    with pytest.raises((Partial, AskLost)):
        run(spec)
    assert asked(vendor).count(lost) == 1


def test_windows_are_no_longer_than_the_client_lets_them_be(
    client: Client, vendor: Vendor, numbers: Numbers, spec: Spec
) -> None:
    """The setting for a vendor who takes fewer days than a report's window has; a month must fit."""
    vendor.longest = 6
    sync_run.run([replace(spec, start=TODAY - timedelta(days=8))], client.with_options(windows=6), deadline=300)
    assert kept(spec, "day, views") == expected(numbers, TODAY - timedelta(days=8))
    assert sorted(asked(vendor)) == ["2-1", "8-3"]
    monthly = replace(spec, name="monthly", dimensions=("MONTH",), start=START.replace(day=1), window=31)
    with pytest.raises(UsageError, match="a window of 6 days is too short"):
        sync_run.run([monthly], client.with_options(windows=6))


def test_a_refused_query_stops_the_run_and_says_whose_it_is(client: Client, vendor: Vendor, spec: Spec) -> None:
    """The service speaks for all: nothing more is asked for."""
    vendor.refuses = lambda _: "There is no such thing."
    with pytest.raises(QueryRefused, match=r"^views\."):
        sync_run.run([spec, replace(spec, name="other")], client.with_options(slots=1), deadline=1)
    assert not spec.place.path.exists()


def test_two_reports_of_one_file_are_one_run(run: Run, vendor: Vendor, spec: Spec) -> None:
    """Each is planned and loaded by itself."""
    other = replace(spec, name="other", start=YESTERDAY)
    heard = run(spec, other)
    assert [len(event.windows) for event in heard if isinstance(event, Planned)] == [2, 1]
    assert Counter(asked(vendor)) == Counter(["20-11", "10-1", "1-1"])


def test_a_run_is_logged(
    run: Run, vendor: Vendor, numbers: Numbers, spec: Spec, caplog: pytest.LogCaptureFixture
) -> None:
    """What is planned, read, downloaded and synced is a line each at INFO; a window that can't be had is a warning."""
    with caplog.at_level("INFO", "reelport"):
        run(spec)
        numbers.empty |= {TODAY - timedelta(days=ago) for ago in range(40)}
        with pytest.raises(WindowEmptied):
            run(spec)
    lines = [(name, level, line) for name, level, line in caplog.record_tuples if name.startswith("reelport.")]
    said = [line for name, _, line in lines if name == "reelport.sync"]
    assert said[0] == "views: 2 windows to read"
    assert sum(line.endswith(": reading window 1 of 2") for line in said) == 1
    synced = [line for line in said if ": synced, " in line]
    assert sorted(line.rpartition(" ")[2] for line in synced) == sorted(f"{token[:11]}…" for token in vendor.tokens[:2])
    (refused,) = [line for _, level, line in lines if level == logging.WARNING]
    assert ": not synced: " in refused
    assert "came back empty" in refused
    downloads = [line for name, _, line in lines if name == "reelport.client" and ": downloaded report " in line]
    assert sorted(line.split()[4] for line in downloads) == sorted(f"{token[:11]}…:" for token in vendor.tokens)
    assert all(line.startswith("views ") for line in downloads)
