"""Reports that are asked for while the object store is away wait for it, and are not blamed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.patience import until
from tests.server.conftest import State
from tests.server.queue.running import running_worker
from tests.server.queue.test_object_tables import plays_of
from tests.storage.gateway import serve_gateway
from tests.storage.object_server import BUCKET, Fault, FaultyProxy

from reelport.engine.duckdb.engine import QueryEngine
from reelport.facts.loading.load import load_arrow
from reelport.server.events import Kind, subscribe
from reelport.server.queue import backlog
from reelport.server.queue.worker import ROOM_SECONDS, Worker, warm_up
from reelport.server.settings import Settings
from reelport.storage import retries
from reelport.storage.file_store import read_file

pytestmark = pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
RIGHT = b"day,views\n2026-01-01,1000\n"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request fails soon: what is tried is what the worker does then."""
    monkeypatch.setattr(retries, "PATIENT_SECONDS", 0.1)


def settle(state: State, tmp_path: Path, **given: object) -> Settings:
    """Settings of tables and reports in the store, in which plays of a day are; and a partner."""
    url = f"s3://{BUCKET}/{tmp_path.parent.name}-{tmp_path.name}"
    settings = state.again(facts_url=f"{url}/facts", files_url=f"{url}/files", **given)
    load_arrow(settings.facts_root, "plays", plays_of(1), "one")
    state.now = datetime.now(UTC)
    state.organization("demo", "c-demo")
    return settings


@contextmanager
def working(settings: Settings, state: State, tmp_path: Path, room_seconds: float = ROOM_SECONDS) -> Iterator[None]:
    """A worker runs."""
    with (
        QueryEngine("200MB", 1, tmp_path / "spill") as engine,
        subscribe(state.db, Kind.REPORT_QUEUED) as events,
        running_worker(Worker(settings, state.db, engine, "one", events, room_seconds=room_seconds)),
    ):
        yield


def ask(state: State) -> str:
    """Ask for the views of that day; the report's id."""
    return state.ask(state.caller(state.key("demo"))).id


def require_waiting(state: State, report: str, words: str) -> None:
    """It waits for the store, and nothing is counted against it."""
    assert until(lambda: backlog.get_entry(state.db, report).waited_for_room > 0)
    found = backlog.get_entry(state.db, report)
    assert words in str(found.reason)
    assert "It waits for the object store" in str(found.reason)
    assert found.failures == 0


def require_made(settings: Settings, state: State, report: str) -> None:
    """It is made, and nothing was counted against it."""
    assert until(lambda: backlog.get_entry(state.db, report).state in {"finished", "failed"})
    found = backlog.get_entry(state.db, report)
    assert (found.state, found.failures) == ("finished", 0), found.reason
    (name,) = (name for name in settings.report_store.list_names() if name.startswith(report))
    assert read_file(settings.report_store, name) == RIGHT


@pytest.mark.long
def test_a_report_waits_for_a_store_that_can_not_be_reached(
    state: State, object_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked while it is away, it is made once it is back."""
    with serve_gateway(object_server) as gateway:
        monkeypatch.setenv("AWS_ENDPOINT_URL", gateway.endpoint)
        settings = settle(state, tmp_path)
        gateway.close()
        report = ask(state)
        with working(settings, state, tmp_path):
            require_waiting(state, report, "the object store fails")
            gateway.open()
            require_made(settings, state, report)


@pytest.mark.long
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault.EXPIRED, "have expired"),
        (Fault.DENIED, "refuses these credentials"),
        (Fault.SLOW_DOWN, "SlowDown"),
    ],
)
def test_a_report_waits_for_a_store_that_refuses(
    state: State, faulty_server: FaultyProxy, tmp_path: Path, fault: Fault, words: str
) -> None:
    """For now, or these credentials; an expired token is not in its reason."""
    settings = settle(state, tmp_path)
    faulty_server.choose = lambda _method, _path: fault
    report = ask(state)
    with working(settings, state, tmp_path):
        require_waiting(state, report, words)
        assert "s3ss10n" not in str(backlog.get_entry(state.db, report).reason)
        faulty_server.choose = lambda _method, _path: None
        require_made(settings, state, report)


@pytest.mark.long
def test_a_report_whose_upload_fails_waits(state: State, faulty_server: FaultyProxy, tmp_path: Path) -> None:
    """The tables can be read, the file can't be put: the report is made again."""
    settings = settle(state, tmp_path)
    faulty_server.choose = lambda method, path: Fault.DENIED if method == "PUT" and ".csv" in path else None
    report = ask(state)
    with working(settings, state, tmp_path):
        require_waiting(state, report, "refuses these credentials")
        faulty_server.choose = lambda _method, _path: None
        require_made(settings, state, report)


@pytest.mark.long
def test_a_store_that_stays_away_fails_a_report_after_its_time_of_waiting(
    state: State, faulty_server: FaultyProxy, tmp_path: Path
) -> None:
    """Then it says what it waited for, and what to do."""
    settings = settle(state, tmp_path)
    faulty_server.choose = lambda _method, _path: Fault.RESET
    report = ask(state)
    with working(settings, state, tmp_path, room_seconds=1):
        assert until(lambda: backlog.get_entry(state.db, report).state == "failed")
    reason = str(backlog.get_entry(state.db, report).reason)
    assert "waited 1 seconds for the object store. Bring it back, then ask again." in reason


@pytest.mark.long
def test_a_worker_is_warm_soon_though_the_store_is_away(
    state: State, faulty_server: FaultyProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks for no second table then: the first report that comes waits for the store."""
    settings = settle(state, tmp_path)
    monkeypatch.setattr("reelport.server.queue.worker.BRIEF_SECONDS", 0)
    faulty_server.seen.clear()
    faulty_server.choose = lambda _method, _path: Fault.RESET
    with QueryEngine("200MB", 1, tmp_path / "spill") as engine:
        warm_up(settings.facts_root, engine, tmp_path)
    assert faulty_server.count(Fault.RESET) == 1
