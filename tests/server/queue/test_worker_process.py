"""A worker's process: what it loads and opens, and where it may lie and write."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.fact_rows import make_plays
from tests.patience import PATIENCE, until
from tests.sandboxes import begin_sandbox, copy_facts, sample_channels
from tests.server.api import open_api
from tests.storage.object_server import BUCKET

from reelport.engine.plan import Plan
from reelport.errors import StorageError, UsageError
from reelport.facts.layout import FILE_NAME, require_layout
from reelport.facts.loading.load import load_arrow
from reelport.facts.log.delta_log import open_delta
from reelport.facts.tables import TABLES
from reelport.server.doctor.checks import check_directory
from reelport.server.queue import liveness
from reelport.server.queue.supervisor import begin_directory
from reelport.server.queue.worker import make_engine
from reelport.server.queue.worker_memory import RestMemory, read_own_memory
from reelport.server.settings import Secret, Settings, read_settings
from reelport.server.state.database import connected
from reelport.server.state.secret_fingerprint import require_same_secret
from reelport.wire import LOOK

pytestmark = pytest.mark.long

# A worker's own start, then a report of each kind; what these load, and which logs of tables they read.
_REPORTS = """
import json, sys
from datetime import date
from pathlib import Path
from reelport.engine.compile import tables_of
from reelport.engine.compile import plan_pieces
from reelport.engine.tenant import Tenant
from reelport.facts.log import snapshot
from reelport.query import ReportQuery
from reelport.server.queue import liveness, worker
from reelport.server.settings import read_settings
from reelport.server.queue.worker import warm_up

settings = read_settings()
settings.files_root.mkdir(parents=True, exist_ok=True)
with worker.make_engine(settings, "one") as engine:
    warm_up(settings.facts_root, engine, liveness.spill_folder(settings, "one"))
    loaded, opened = set(sys.modules), snapshot._list_files_at.cache_info().misses
    rows = []
    for metrics, dimensions in (["VIEWS"], ["DAY", "VIDEO_TITLE"]), (["ESTIMATED_EARNINGS_EUR"], ["CHANNEL_SLUG"]):
        query = ReportQuery.of(metrics, dimensions, date(2026, 7, 1), date(2026, 7, 2))
        pinned = snapshot.pin(settings.facts_root, tables_of(query))
        tenant = Tenant(frozenset(json.loads(sys.argv[1])))
        rows.append(engine.session().write(plan_pieces(query, tenant, pinned), settings.files_root / "report.csv").rows)
    left = [path.name for path in liveness.spill_folder(settings, "one").iterdir()]
    again = snapshot._list_files_at.cache_info().misses
print(json.dumps([rows, sorted(set(sys.modules) - loaded), opened, again, left]))
"""


def test_the_first_report_loads_and_opens_nothing_anew(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """No library, no module of ours, no log of a table: a warm-up went through all of it, and left nothing behind."""
    settings = read_settings(data=tmp_path / "data")
    begin_sandbox(settings, tmp_path_factory)
    channels = json.dumps([id_ for ids in sample_channels().values() for id_ in ids])
    ran = subprocess.run(
        [sys.executable, "-c", _REPORTS, channels],
        check=True,
        stdout=subprocess.PIPE,
        env={"PATH": "/usr/bin", **settings.environment()},
        text=True,
    )
    rows, loaded, opened, again, left = json.loads(ran.stdout)
    assert all(rows)
    assert (loaded, opened, again, left) == ([], len(TABLES) - 1, len(TABLES) - 1, [])


@pytest.mark.parametrize(("url", "keeps"), [("", True), ("s3://bucket/facts", False)])
def test_footers_are_kept_of_tables_in_a_folder_alone(tmp_path: Path, url: str, keeps: bool) -> None:
    """A copy of an object store's file is touched by each report: none would be read by the footer that is kept."""
    settings = read_settings(data=tmp_path, facts_url=url, worker_threads=1)
    with make_engine(settings, "worker") as engine:
        plan = Plan("SELECT current_setting('parquet_metadata_cache')", ())
        assert engine.session().fetch(plan, "this page") == [(keeps,)]


def test_much_free_memory_is_given_back_after_a_rest() -> None:
    """Not while it makes reports, nor before it has rested for five seconds after the last one."""
    memory = RestMemory()
    taken = [bytes(1000) for _ in range(150_000)]
    last = taken.pop()  # above all others, so that the system can't be given them back from the end
    held = read_own_memory()
    del taken
    memory.check(1, at_rest=False, now=0)
    memory.check(1, at_rest=True, now=10)
    memory.check(1, at_rest=True, now=14)
    assert held - read_own_memory() < 50_000_000
    memory.check(1, at_rest=True, now=15)
    assert held - read_own_memory() > 100_000_000
    assert len(last) == 1000


def test_own_memory_is_read_from_the_system() -> None:
    """Memory that is taken is seen."""
    before = read_own_memory()
    taken = bytearray(os.urandom(1) * 30_000_000)
    assert read_own_memory() - before > 20_000_000
    del taken


@pytest.fixture
def service(object_server: str, new_database: Callable[[], str], tmp_path: Path) -> Settings:
    """The settings of a service on another machine, whose state was made there."""
    assert object_server
    url = f"s3://{BUCKET}/{tmp_path.parent.name}-{tmp_path.name}"
    settings = read_settings(
        data=tmp_path / "api",
        database_url=new_database(),
        facts_url=f"{url}/facts",
        files_url=f"{url}/files",
        secret="s" * 32,
    )
    with connected(settings) as db:
        require_same_secret(db, settings)
    return settings


def test_a_worker_begins_its_own_directory(service: Settings, tmp_path: Path) -> None:
    """From nothing but the settings, whatever the umask; it becomes ready, and ends by SIGTERM."""
    machine = replace(service, data=tmp_path / "w1")
    assert [well for well, _ in check_directory(machine)] == [True]
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-m", "reelport", "worker"],
            env={**os.environ, **machine.environment()},
            stdin=subprocess.DEVNULL,
            stderr=log,
            umask=0o022,
        ) as worker,
    ):
        try:
            with connected(service) as db:
                assert until(lambda: liveness.list_ready(db, service)), (tmp_path / "log").read_text()
        finally:
            worker.terminate()
            assert worker.wait(PATIENCE) == 0
    assert (machine.data / FILE_NAME).exists()
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in (machine.data, machine.workers_root)] == [0o700] * 2
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_a_directory_that_was_made_for_it_is_begun(service: Settings, tmp_path: Path) -> None:
    """An empty one, one that holds the secret alone, or a new disk; once more changes nothing."""
    for name, held in (("empty", ()), ("secret", ("secret.key",)), ("disk", ("lost+found", "secret.key"))):
        machine = replace(service, data=tmp_path / name, secret=None if held else service.secret)
        machine.data.mkdir()
        for each in held:
            (machine.data / each).write_text("s" * 32)
            (machine.data / each).chmod(0o600)
        begin_directory(machine)
        begin_directory(machine)
        require_layout(machine.data)


def test_a_directory_is_not_begun_for_another_service(service: Settings, new_database: Callable[[], str]) -> None:
    """With another secret, with none, or over an empty database; the sentence says what to set."""
    data = service.data.with_name("w1")
    for given, expected in (
        ({"secret": Secret("o" * 32)}, "made under another secret"),
        ({"secret": None}, "set REELPORT_SECRET"),
        ({"database_url": new_database()}, "belongs to no service yet"),
    ):
        with pytest.raises(UsageError, match=expected):
            begin_directory(replace(service, data=data, **given))
        assert not data.exists()


def test_a_directory_whose_disk_may_be_away_is_not_begun(service: Settings) -> None:
    """One that is to hold state, tables or files; one that holds something; one whose folder is missing, too."""
    empty = service.data.with_name("w1")
    empty.mkdir()
    held = service.data.with_name("held")
    (held / "facts").mkdir(parents=True)
    for machine in (
        replace(service, data=empty, database_url=""),
        replace(service, data=empty, facts_url=""),
        replace(service, data=empty, files_url=""),
        replace(service, data=held),
        replace(service, data=service.data.with_name("none") / "w1"),
    ):
        begin_directory(machine)
        with pytest.raises(StorageError, match="is its disk there"):
            require_layout(machine.data)
    assert list(empty.iterdir()) == []
    assert not service.data.with_name("none").exists()


# A worker that says at its end which libraries it has loaded.
_LIBRARIES = """
import sys
from reelport.server.queue.worker_main import main

sys.argv = ["worker", "nobody"]
main()
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""


def test_a_worker_over_loaded_tables_loads_no_arrow(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """It has warmed up over all tables, one of which has a checkpoint, and has made a report of its rows."""
    settings = read_settings(data=tmp_path / "data", workers=0)
    with open_api(settings) as api:
        copy_facts(settings, tmp_path_factory)
        rows = make_plays([(datetime(2026, 1, 1, 5, tzinfo=UTC), 3)], owner_channel_id="c-demo")
        load_arrow(settings.facts_root, "plays", rows, "one")
        open_delta(settings.facts_root / "plays").create_checkpoint()
        token = api.ask()["data"]["askPartnerReportFile"]["reportFile"]["reportToken"]

        def look() -> str:
            status: str = api.graphql(LOOK, {"reportToken": token})["data"]["partner"]["reportFile"]["status"]
            return status

        with subprocess.Popen(
            [sys.executable, "-c", _LIBRARIES],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **settings.environment()},
            text=True,
        ) as worker:
            assert until(lambda: look() == "FINISHED" or worker.poll() is not None)
            worker.send_signal(signal.SIGTERM)
            worker.wait(PATIENCE)  # with its input open: its end would be that of the supervisor
            assert worker.stdout is not None
            loaded = set(worker.stdout.read().split())
        assert b"2026-01-01,3" in api.client.get(api.link(token)).content
    assert "duckdb" in loaded
    assert loaded.isdisjoint({"pyarrow", "numpy"})
