"""The dlt source, loaded into DuckDB by dlt itself."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from reelport import Client, SchemaDrift
from reelport.errors import ReportFailed, UsageError, WindowEmptied
from reelport.sync.events import Loaded, SyncEvent
from reelport.sync.spec import Days
from reelport.testing import Vendor
from reelport.testing.vendor import Wire

from .vendors import START, TODAY, YESTERDAY, Numbers, asked, expected

if TYPE_CHECKING:
    import dlt

SHEET = f"""
[defaults]
start = {START}
lookback = 3
window = 10
[reports.views]
metrics = ["VIEWS"]
dimensions = ["DAY"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "reelport.toml"
    file.write_text(SHEET, "utf-8")
    return file


@pytest.fixture
def pipeline(tmp_path: Path) -> dlt.Pipeline:
    return made(tmp_path, "first")


def made(tmp_path: Path, name: str) -> dlt.Pipeline:
    """A pipeline with a working folder of its own, into the one file."""
    import dlt  # noqa: PLC0415 - each process that runs tests would wait for it

    destination = dlt.destinations.duckdb(str(tmp_path / "partner.duckdb"))
    return dlt.pipeline("partner", str(tmp_path / name), destination=destination, dataset_name="reports")


def load(pipeline: dlt.Pipeline, file: Path, **options: Any) -> list[Any]:  # noqa: ANN401 - those of the real one
    """Bring the file's reports up to date in a pipeline."""
    from reelport.sync.dlt import load  # noqa: PLC0415 - each process that runs tests would wait for it

    return load(pipeline, file, **options)


def rows(pipeline: dlt.Pipeline, columns: str = "day, views") -> list[tuple[object, ...]]:
    with pipeline.sql_client() as sql:
        return [tuple(row) for row in sql.execute_sql(f"SELECT {columns} FROM views ORDER BY ALL") or ()]


def test_dlt_loads_windows_and_replaces_them(
    pipeline: dlt.Pipeline, client: Client, vendor: Vendor, numbers: Numbers, file: Path, tmp_path: Path
) -> None:
    """First all windows, a package each; then, by the state at the destination alone, what moved, vanished, emptied."""
    assert len(load(pipeline, file, client=client)) == 2
    assert asked(vendor) == ["20-11", "10-1"]
    assert rows(pipeline) == expected(numbers)
    numbers.changed[TODAY - timedelta(days=2)] = 5
    numbers.empty.add(TODAY - timedelta(days=3))
    elsewhere = made(tmp_path, "second")
    load(elsewhere, file, client=client)
    assert asked(vendor)[2:] == ["3-1"]
    assert rows(elsewhere) == expected(numbers)
    assert rows(elsewhere, "DISTINCT _deleted, _spec") == [(False, "views")]


@pytest.mark.long
def test_empty_days_up_to_today_are_read_again(
    pipeline: dlt.Pipeline, client: Client, vendor: Vendor, numbers: Numbers, file: Path
) -> None:
    """As in a copy of ours: what comes late is loaded."""
    numbers.empty = set(Days.between(TODAY - timedelta(days=9), YESTERDAY))
    load(pipeline, file, client=client)
    numbers.empty.clear()
    load(pipeline, file, client=client)
    assert asked(vendor)[2:] == ["9-1"]
    assert rows(pipeline) == expected(numbers)


@pytest.mark.long
def test_a_range_is_read_again_by_name(
    pipeline: dlt.Pipeline, client: Client, vendor: Vendor, numbers: Numbers, file: Path
) -> None:
    """Verified days of it too and no others; what fails is left to the next load; one that isn't kept is refused."""
    load(pipeline, file, client=client)
    restated = START + timedelta(days=12)
    numbers.changed[restated] = 1
    load(pipeline, file, client=client, start=restated, end=restated)
    assert asked(vendor)[2:] == ["8-8"]
    assert rows(pipeline) == expected(numbers)
    numbers.changed[restated] = 2
    vendor.fails = lambda wire: wire["endDate"] == YESTERDAY.isoformat()
    with pytest.raises(ReportFailed):
        load(pipeline, file, client=client, start=START)
    vendor.fails = 0
    before = len(vendor.asks)
    load(pipeline, file, client=client)
    assert asked(vendor)[before:] == ["10-1"]
    assert rows(pipeline) == expected(numbers)
    with pytest.raises(UsageError, match="none of these days"):
        load(pipeline, file, client=client, end=START - timedelta(days=1))


@pytest.mark.long
def test_an_emptied_window_stops_and_drift_goes_by_the_contract(
    pipeline: dlt.Pipeline, client: Client, numbers: Numbers, file: Path
) -> None:
    """As in a copy of ours: the error is ours too, and what was loaded stays; then rows vanish, and a column comes."""
    load(pipeline, file, client=client)
    numbers.empty |= set(Days.between(TODAY - timedelta(days=3), YESTERDAY))
    with pytest.raises(WindowEmptied, match="allow_empty=True"):
        load(pipeline, file, client=client)
    assert len(rows(pipeline)) == 20
    emptied, numbers.empty = numbers.empty, set()
    load(pipeline, file, client=client)
    assert len(rows(pipeline)) == 20
    numbers.empty = emptied
    load(pipeline, file, client=client, allow_empty=True)
    assert rows(pipeline) == expected(numbers)
    numbers.empty = set()
    numbers.columns, numbers.more = "day,views,bots", ".5,1"
    file.write_text(SHEET.replace("window", 'contract = "freeze"\nwindow'), "utf-8")
    with pytest.raises(SchemaDrift):
        load(pipeline, file, client=client)
    file.write_text(SHEET, "utf-8")
    heard: list[SyncEvent] = []
    load(pipeline, file, client=client, tell=heard.append)
    (notes,) = [event.notes for event in heard if isinstance(event, Loaded)]
    assert (notes[0], len(notes)) == ("new column bots", 2)
    assert rows(pipeline, "views, views__text, bots")[-3:] == [
        (None, f"{number}.5", "1") for number in range(TODAY.toordinal() - 3, TODAY.toordinal())
    ]


@pytest.mark.long
def test_another_meaning_leaves_no_rows_that_nothing_would_replace(
    pipeline: dlt.Pipeline, client: Client, numbers: Numbers, file: Path
) -> None:
    """With a later start and another product the days before it go too."""
    load(pipeline, file, client=client)
    later = START + timedelta(days=5)
    file.write_text(SHEET.replace(str(START), str(later)), "utf-8")
    load(pipeline, file, client=client)
    assert rows(pipeline) == expected(numbers)
    file.write_text(SHEET.replace(str(START), str(later)) + 'product = "ALL"\n', "utf-8")
    load(pipeline, file, client=client)
    assert rows(pipeline) == expected(numbers, later)


@pytest.mark.long
def test_rows_of_another_service_are_not_mixed(
    pipeline: dlt.Pipeline, client: Client, numbers: Numbers, file: Path, tmp_path: Path
) -> None:
    """A load from elsewhere is refused until it reads every day again; then verified days are read too."""
    load(pipeline, file, client=client)
    numbers.changed[START] = 5
    with Vendor(csv=numbers.csv) as other, Client(other.url, other.key, other.secret, ledger=tmp_path / "b.db") as new:
        with pytest.raises(UsageError, match=r"holds rows from http.*every_day=True"):
            load(pipeline, file, client=new)
        load(pipeline, file, client=new, every_day=True)
        assert rows(pipeline) == expected(numbers)
        numbers.changed[START] = 6
        load(pipeline, file, client=new, every_day=True)
        assert rows(pipeline) == expected(numbers)
        load(pipeline, file, client=new)
        assert asked(other) == [*["20-11", "10-1"] * 2, "3-1"]


def months_of(wire: Wire) -> list[str]:
    """The months that a question has days of."""
    first, last = date.fromisoformat(wire["startDate"]), date.fromisoformat(wire["endDate"])
    return sorted({day.strftime("%Y-%m") for day in Days.between(first, last)})


@pytest.mark.long
def test_the_source_takes_its_settings_from_dlt(
    pipeline: dlt.Pipeline, client: Client, vendor: Vendor, file: Path
) -> None:
    """Address and key from `[sources.reelport]`; a package that was stopped is loaded first; months turn to days."""
    import dlt  # noqa: PLC0415 - each process that runs tests would wait for it

    from reelport.sync.dlt import reports  # noqa: PLC0415 - each process that runs tests would wait for it

    vendor.csv = lambda wire: "".join(
        ["month,estimated_earnings_eur\n", *(f"{month},1.250000\n" for month in months_of(wire))]
    ).encode()
    first = (TODAY.replace(day=1) - timedelta(days=40)).replace(day=1)
    file.write_text(
        f'[reports.views]\nmetrics = ["ESTIMATED_EARNINGS_EUR"]\ndimensions = ["MONTH"]\n'
        f"start = {first}\nwindow = 31\n",
        "utf-8",
    )
    settings = {"file": str(file), "url": vendor.url, "key": vendor.key, "secret": vendor.secret}
    for name, value in settings.items():
        holder = dlt.secrets if name == "secret" else dlt.config
        holder[f"sources.reelport.{name}"] = value
    pipeline.extract(reports())
    assert pipeline.has_pending_data
    load(pipeline, file, client=client)
    months = months_of({"startDate": str(first), "endDate": str(YESTERDAY)})
    assert rows(pipeline, "month, estimated_earnings_eur") == [(month, Decimal("1.25")) for month in months]
    vendor.csv = Numbers().csv
    file.write_text(SHEET.replace(str(START), str(START + timedelta(days=1))), "utf-8")
    load(pipeline, file, client=client)
    assert rows(pipeline, "day, month") == [(day, None) for day, _ in expected(Numbers())[1:]]
    asks = len(vendor.asks)
    assert len(pipeline.run(reports()).loads_ids) == 1
    assert asked(vendor)[asks:] == ["3-1"]


@pytest.mark.long
def test_a_load_closes_the_client_that_it_made(
    pipeline: dlt.Pipeline, vendor: Vendor, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that it was given stays open, for it is its owner's."""
    closed: list[Client] = []

    class Watched(Client):
        def close(self) -> None:
            closed.append(self)
            super().close()

    ours = {"URL": vendor.url, "API_KEY": vendor.key, "API_SECRET": vendor.secret, "HOME": str(tmp_path / "home")}
    for name, value in ours.items():
        monkeypatch.setenv(f"REELPORT_{name}", value)
    monkeypatch.setattr("reelport.sync.dlt.Client", Watched)
    load(pipeline, file)
    assert len(closed) == 1
    with Watched() as given:
        load(pipeline, file, client=given)
        assert len(closed) == 1


def test_a_destination_that_appends_is_refused(client: Client, file: Path, vendor: Vendor, tmp_path: Path) -> None:
    """Rows would be there twice: nothing is asked for."""
    import dlt  # noqa: PLC0415 - each process that runs tests would wait for it

    folder = dlt.destinations.filesystem(str(tmp_path / "files"))
    pipeline = dlt.pipeline("files", str(tmp_path / "own"), destination=folder, dataset_name="reports")
    with pytest.raises(UsageError, match="filesystem"):
        load(pipeline, file, client=client)
    assert vendor.asks == []
