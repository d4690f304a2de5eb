"""Sweeps: what they delete, what they leave, and what ends them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio.to_thread
import pytest
import structlog
from sqlalchemy import text
from structlog.testing import capture_logs
from tests.patience import PATIENCE, until
from tests.server.conftest import NOW, State
from tests.server.http.test_files_in_object_store import settings_of
from tests.storage.object_server import Fault, FaultyProxy

from reelport.server.access import organizations
from reelport.server.app import create_app
from reelport.server.files import retention, store_owner
from reelport.server.files.report_files import FileRecord
from reelport.server.queue import jobs
from reelport.server.settings import read_settings
from reelport.server.state.database import connected, writing
from reelport.server.state.secret_fingerprint import require_same_secret

AHEAD = timedelta(hours=49)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def path(state: State) -> Path:
    """The file of a report that was asked for at NOW, and is over two days later."""
    state.organization("demo")
    state.ask(state.caller(state.key("demo")))
    claim = jobs.claim(state.db, "one", running=1, lease_seconds=30)
    assert claim is not None
    state.settings.files_root.mkdir()
    found = state.settings.files_root / f"{claim.report_id}-1.csv"
    found.write_text("views\n")
    assert jobs.finish(state.db, claim, FileRecord(found.name, 0, 6, "ab"), NOW)
    return found


def sweep(state: State, now: datetime) -> int:
    """What a process does when a sweep is due."""
    return retention.sweep_unless_jumped(state.db, state.settings, now)


def test_a_clock_that_jumps_ahead_and_back_deletes_nothing(state: State, path: Path) -> None:
    """The sweep at 49 hours ahead is skipped, and the log says so; later ones go by the right time."""
    assert sweep(state, NOW) == 0
    with capture_logs() as logs:
        assert sweep(state, NOW + AHEAD) == 0
    assert [line["event"] for line in logs] == ["more than a day since the last sweep: this one is skipped"]
    assert sweep(state, NOW + MINUTE) == 0
    assert path.exists()


def test_a_machine_whose_clock_is_ahead_deletes_nothing_beside_one_that_is_right(state: State, path: Path) -> None:
    """However long both take turns: each sweep of the wrong one comes more than a day after one of the right one."""
    for number in range(10):
        assert sweep(state, NOW + number * MINUTE) == 0
        assert sweep(state, NOW + number * MINUTE + AHEAD) == 0
    assert path.exists()


def test_the_second_sweep_after_days_without_a_service_deletes_what_is_over(state: State, path: Path) -> None:
    """Also the first one where no sweep was ever made."""
    sweep(state, NOW)
    assert sweep(state, NOW + AHEAD) == 0
    assert sweep(state, NOW + AHEAD + MINUTE) == 1
    assert not path.exists()


def test_a_sweep_of_every_hour_deletes_what_is_over(state: State, path: Path) -> None:
    """A report ends on time where sweeps are made less than a day apart."""
    gone = [sweep(state, NOW + timedelta(hours=hour)) for hour in range(50)]
    assert (sum(gone), gone.index(1)) == (1, 48)
    assert not path.exists()


def test_a_process_that_stops_looks_at_no_more_orphans(faulty_server: FaultyProxy, tmp_path: Path) -> None:
    """Each is a request of its own, as each thousand that are listed are, and many thousands may be there."""
    settings = settings_of(tmp_path)
    for number in range(5):
        settings.report_store.put(f"{number:012}-1.csv", b"")

    def looks() -> int:
        return sum(method in {"HEAD", "DELETE"} for method, _, _ in faulty_server.seen)

    with connected(settings) as db:
        require_same_secret(db, settings)
        store_owner.require_own_store(db, settings)
        faulty_server.seen.clear()
        assert retention.remove_orphans(db, settings, lambda: looks() > 1) == 0
        assert looks() <= 3
        assert len(retention.find_orphans(db, settings)) == 5


def test_an_app_that_ends_by_an_error_ends_its_sweep(faulty_server: FaultyProxy, tmp_path: Path) -> None:
    """As one that is told to stop does: whoever waits for its end waits for no thousands of requests."""
    settings = settings_of(tmp_path)
    for number in range(40):
        settings.report_store.put(f"{number:012}-1.csv", b"")

    async def live() -> None:
        loop, begun = asyncio.get_running_loop(), asyncio.Event()

        async def note() -> None:
            begun.set()
            await asyncio.sleep(0)

        def choose(method: str, _path: str) -> Fault | None:
            if method == "HEAD":  # the sweep is no faster than the loop that is to end it
                asyncio.run_coroutine_threadsafe(note(), loop).result(PATIENCE)
            return None

        app = create_app(settings)
        async with app.router.lifespan_context(app):
            faulty_server.seen.clear()
            faulty_server.choose = choose
            await begun.wait()
            raise ZeroDivisionError

    with pytest.raises(ExceptionGroup):
        asyncio.run(live())
    assert sum(method == "HEAD" for method, _, _ in faulty_server.seen) < 20


def test_a_sweep_that_fails_of_what_nobody_foresaw_is_made_again(tmp_path: Path) -> None:
    """And ends nothing beside it: not the next one, nor what wakes waiting status queries."""
    settings = read_settings(data=tmp_path, workers=0, sweep_seconds=0.1)
    orphan = settings.files_root / "nobody000000-1.csv"
    with connected(settings) as db:
        orphan.parent.mkdir(exist_ok=True)
        orphan.touch()
        organizations.add_organization(db, "demo", datetime.now(UTC))
        with writing(db) as connection:
            connection.execute(text("DROP TRIGGER audit_log_no_update"))
            connection.execute(text("UPDATE audit_log SET at = 'no moment'"))

        async def live() -> None:
            app = create_app(settings)
            async with app.router.lifespan_context(app):
                assert await anyio.to_thread.run_sync(until, lambda: bool(logs), abandon_on_cancel=True)
                with writing(db) as connection:
                    connection.execute(text("UPDATE audit_log SET at = 0"))
                assert await anyio.to_thread.run_sync(until, lambda: not orphan.exists(), abandon_on_cancel=True)

        with structlog.testing.capture_logs() as logs:
            asyncio.run(live())
    assert {log["event"] for log in logs} == {"the sweep failed", "orphan files removed"}
