"""What the tests of sync share: a vendor, a spec in both kinds of destination, deliveries, a look at what is kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from tests.cases import keep_one_kind

from reelport import Client
from reelport.client.events import Saved
from reelport.client.ranges.windows import Window
from reelport.sync.destinations import open_destination
from reelport.sync.events import Loaded, OfWindow, SyncEvent
from reelport.sync.spec import Kind, Place, Spec
from reelport.sync.staging import Delivery
from reelport.testing import Vendor

from .vendors import Numbers, follow_midnight

HEADER = "day,visitor_country,views,estimated_earnings_eur\n"

Deliver = Callable[..., Loaded]
Kept = Callable[..., list[tuple[object, ...]]]


def day(number: int) -> date:
    """A day of January 2026, long ago by now."""
    return date(2026, 1, number)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave each test of every kind of destination to one of them in `make test`."""
    keep_one_kind(items, Path(__file__).parent, "place")


@pytest.fixture(scope="session", autouse=True)
def _dlt_keeps_to_itself(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test has dlt tell its makers that it ran, or keep a pipeline where this machine's others are."""
    ours = {"RUNTIME__DLTHUB_TELEMETRY": "false", "DLT_DATA_DIR": str(tmp_path_factory.mktemp("dlt"))}
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    yield
    for name, value in before.items():
        os.environ.pop(name)
        if value is not None:
            os.environ[name] = value


@pytest.fixture(autouse=True)
def _days_of_now(request: pytest.FixtureRequest) -> None:
    """A run of the tests may go on over midnight."""
    follow_midnight(request.module)


@pytest.fixture
def numbers() -> Numbers:
    """What the vendor knows, to be changed by a test."""
    return Numbers()


@pytest.fixture
def vendor(numbers: Numbers) -> Iterator[Vendor]:
    """A vendor of these numbers."""
    with Vendor(csv=numbers.csv) as vendor:
        yield vendor


@pytest.fixture
def client(vendor: Vendor, tmp_path: Path) -> Iterator[Client]:
    """A client of that vendor, with a ledger of its own."""
    with Client(vendor.url, vendor.key, vendor.secret, ledger=tmp_path / "ledger.db") as client:
        yield client


@pytest.fixture(params=list(Kind), ids=["duckdb", "parquet"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A destination of each kind; the folder has a name that a reader of Parquet could take for a partition."""
    home = tmp_path / "views=9"
    home.mkdir()
    made = Place(request.param, home / ("copy.duckdb" if request.param is Kind.DUCKDB else "copy"))
    made.work_folder.mkdir()
    return made


@pytest.fixture
def spec(place: Place) -> Spec:
    return spec_at(place)


def spec_at(place: Place) -> Spec:
    """Views and earnings by day and country, kept there."""
    return Spec("earned", ("VIEWS", "ESTIMATED_EARNINGS_EUR"), ("DAY", "VISITOR_COUNTRY"), day(1), place)


def put(spec: Spec, text: str, first: int, last: int, *, allow_empty: bool = False, report: str = "t") -> Loaded:
    """Replace a window of a copy by a report of these rows."""
    file = spec.place.work_folder / "report.csv"
    file.write_text(text, "utf-8")
    delivery = Delivery(Window(day(first), day(last)), file, report, datetime.now(UTC), "http://here")
    return open_destination(spec.place).replace(spec, delivery, allow_empty=allow_empty)


def break_after_download(event: SyncEvent) -> None:
    """Hear events until a report is on the disk, then fail as a listener whose reader has gone does."""
    if isinstance(event, OfWindow) and isinstance(event.event, Saved):
        raise BrokenPipeError


def kept(spec: Spec, columns: str = "day, visitor_country, views, estimated_earnings_eur") -> list[tuple[object, ...]]:
    """What a copy holds, in order."""
    with open_destination(spec.place).view(spec) as view:
        assert view is not None
        return view.con.execute(f"SELECT {columns} FROM {view.relation} ORDER BY ALL").fetchall()


def types(spec: Spec) -> dict[str, str]:
    """The columns of a copy and their types."""
    with open_destination(spec.place).view(spec) as view:
        assert view is not None
        rows = view.con.execute(f"DESCRIBE SELECT * FROM {view.relation}").fetchall()
    return {name: kind for name, kind, *_ in rows}
