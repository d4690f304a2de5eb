"""Sweeps: what they delete and leave. A state has one place: no service makes reports of others, or of none."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
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
from tests.server.syncs import no_sync
from tests.storage.object_server import Fault, FaultyProxy

from reelport.errors import StorageError
from reelport.facts.log.table_identity import FOLDER, IDENTITY, RECORD, identify_tables
from reelport.server.access import organizations
from reelport.server.app import create_app
from reelport.server.doctor.checks import check_tables
from reelport.server.files import retention, store_owner
from reelport.server.files.report_files import FileRecord
from reelport.server.files.store_owner import PLACE_FILE, identify_place
from reelport.server.queue import jobs
from reelport.server.settings import read_settings
from reelport.server.state.database import connected, reading, writing
from reelport.server.state.own_tables import read_tables_identity, require_own_tables
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


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_an_orphan_goes_once_what_made_it_one_is_on_the_disk(state: State) -> None:
    """Else the end of the machine could bring the record of a report back without its file."""
    orphan = state.settings.files_root / "nobody000000-1.csv"
    state.organization("demo", "c")
    orphan.parent.mkdir(exist_ok=True)
    orphan.touch()
    with no_sync(state.settings), pytest.raises(StorageError, match="wal"):
        retention.remove_orphans(state.db, state.settings)
    assert orphan.exists()
    assert retention.remove_orphans(state.db, state.settings) == 1


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


def test_a_place_stays_itself(state: State) -> None:
    """Whoever looks first, and whoever looks at the same time."""
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: identify_place(state.db, state.settings), range(16)))
    assert len(found) == 1
    assert identify_place(state.db, state.settings) in found


def test_a_copy_of_a_directory_is_another_place(state: State, tmp_path: Path) -> None:
    """Its file says so itself, whole or damaged; where the state is in PostgreSQL no directory counts."""
    own = identify_place(state.db, state.settings)
    copy = state.again(data=tmp_path / "copy")
    shutil.copytree(state.settings.data, copy.data, ignore=shutil.ignore_patterns("workers"))
    assert (identify_place(state.db, copy) == own) == bool(state.settings.database_url)
    assert identify_place(state.db, state.settings) == own
    if not state.settings.database_url:
        (copy.data / PLACE_FILE).write_text("half")
        assert identify_place(state.db, copy) == identify_place(state.db, copy) != own


def test_a_copy_that_has_its_inode_by_chance_is_another_place(state: State) -> None:
    """As on another disk: it was born at another time."""
    settings = state.again(database_url=None)
    own = identify_place(state.db, settings)
    file = settings.data / PLACE_FILE
    identity, inode, born = file.read_text().split()
    if born == "None":
        pytest.skip("this file system doesn't tell a file's time of birth")
    file.write_text(f"{identity} {inode} {int(born) - 1}")
    assert identify_place(state.db, settings) == identify_place(state.db, settings) != own


def test_each_database_is_another_place(new_database: Callable[[], str], state: State, tmp_path: Path) -> None:
    """Of one cluster, too; and any user may ask for it."""
    others = [state.again(data=tmp_path / str(n), database_url=new_database()) for n in range(2)]
    places = {identify_place(state.db, state.settings)}
    for settings in others:
        with connected(settings) as db:
            places.add(identify_place(db, settings))
            with reading(db) as connection:
                asked = text("SELECT has_function_privilege('public', 'pg_control_system()', 'execute')")
                assert connection.execute(asked).scalar_one()
    assert len(places) == 3


def test_the_first_tables_that_are_used_become_the_states(state: State) -> None:
    """Whichever process is first."""
    assert read_tables_identity(state.db) is None
    require_own_tables(state.db, state.settings)
    require_own_tables(state.db, state.settings)
    assert read_tables_identity(state.db) == identify_tables(state.settings.data, state.settings.facts_root)


def test_a_machine_that_names_other_tables_is_refused(state: State, tmp_path: Path) -> None:
    """Though its data directory has never used any; those of the state are taken by every machine."""
    require_own_tables(state.db, state.settings)
    elsewhere = replace(state.settings, data=tmp_path / "machine-2")
    elsewhere.data.mkdir()
    with pytest.raises(StorageError, match="The tables that the state knows are not there"):
        require_own_tables(state.db, elsewhere)
    assert not list(elsewhere.data.iterdir())
    shutil.copytree(state.settings.facts_root, elsewhere.facts_root, dirs_exist_ok=True)
    require_own_tables(state.db, elsewhere)


def test_doctor_tells_tables_of_others_and_none(state: State) -> None:
    """With the words that a start of the service would have."""
    require_own_tables(state.db, state.settings)
    assert [*check_tables(state.settings)] == [(True, "Nothing is loaded yet.")]
    mark = state.settings.facts_root / FOLDER / IDENTITY
    mark.write_text("other\n")
    (state.settings.data / RECORD).write_text("other\n")
    with pytest.raises(StorageError, match="The tables that the state knows are others"):
        list(check_tables(state.settings))
    shutil.rmtree(state.settings.facts_root)
    with pytest.raises(StorageError, match="are not there"):
        list(check_tables(state.settings))
