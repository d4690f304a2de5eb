"""Reports and views over tables in an object store: the bytes of those over a folder."""

from __future__ import annotations

import shutil
import threading
from datetime import UTC, date, datetime
from pathlib import Path

import anyio
import duckdb
import pyarrow as pa
import pytest
from tests.fact_rows import make_play
from tests.server.api import Api, open_api
from tests.server.explore.endless import DAY, QUICK, TENANT
from tests.storage.object_server import BUCKET, Fault, FaultyProxy

from reelport.catalog import Dimension, Grain, Metric
from reelport.engine.rollups.build import build_rollups
from reelport.engine.rollups.choice import RollupList
from reelport.engine.rollups.columns import make_rollup
from reelport.engine.tenant import Tenant
from reelport.errors import StoreUnavailable
from reelport.facts.loading.compaction import compact, copy_tables_by_roles
from reelport.facts.loading.load import load_arrow
from reelport.facts.log.log_files import open_store
from reelport.facts.rollups import add_rollup
from reelport.server.explore.explorer import Explorer
from reelport.server.explore.numbers import Figure
from reelport.server.explore.view import View
from reelport.server.queue import attempt, jobs
from reelport.server.queue.worker import make_engine
from reelport.server.settings import Settings, read_settings
from reelport.server.state import tallies
from reelport.storage.file_cache import holding
from reelport.storage.file_store import read_file
from reelport.storage.local_folder import LocalFolder
from reelport.storage.retries import retry_for

pytestmark = pytest.mark.long


def make_report(settings: Settings) -> bytes:
    """Load three days of plays, ask for a report over them, and make it as a worker does."""
    with open_api(settings) as api:
        for day in range(1, 4):
            load_arrow(settings.facts_root, "plays", plays_of(day), f"day-{day}")
        api.ask(startDate="2026-01-01", endDate="2026-01-05")
        return make_queued_report(api)


def plays_of(day: int) -> pa.Table:
    """A thousand plays of one channel on one day."""
    return plays(
        [(datetime(2026, 1, day, number % 24, tzinfo=UTC), f"v{number % 7}", "c-demo") for number in range(1000)]
    )


def plays(rows: list[tuple[datetime, str, str]]) -> pa.Table:
    """Plays of these moments, videos and owners, of one view each."""
    return pa.Table.from_pylist([make_play(at, video_id=video, owner_channel_id=owner) for at, video, owner in rows])


def make_queued_report(api: Api) -> bytes:
    """Make the report that waits; gives the bytes of its file."""
    settings, db = api.service.settings, api.service.db
    claim = jobs.claim(db, "worker", running=9, lease_seconds=60)
    assert claim is not None
    engine = make_engine(settings, "worker")
    session = engine.session()
    try:
        record = attempt.make_report(db, settings, claim, session, lambda: datetime.now(UTC), threading.Event())
    finally:
        session.close()
        engine.close()
    return read_file(settings.report_store, record.name)


def test_a_report_has_the_same_bytes(faulty_server: FaultyProxy, tmp_path: Path) -> None:
    """Though the store refuses requests and cuts answers; on a machine that has none of the files."""
    url = f"s3://{BUCKET}/{tmp_path.parent.name}-{tmp_path.name}"
    counted = [0]

    def choose(_method: str, _path: str) -> Fault | None:
        counted[0] += 1
        return {0: Fault.SLOW_DOWN, 5: Fault.RESET}.get(counted[0] % 10)

    local = make_report(read_settings(data=tmp_path / "local", workers=0))
    remote = read_settings(data=tmp_path / "one", facts_url=f"{url}/facts", files_url=f"{url}/files", workers=0)
    faulty_server.choose = choose
    assert make_report(remote) == local
    assert local.count(b"\n") == 4
    files = f"{url}/files-two"
    elsewhere = read_settings(data=tmp_path / "two", facts_url=remote.facts_url, files_url=files, workers=0)
    with open_api(elsewhere) as api:
        api.ask(startDate="2026-01-01", endDate="2026-01-05")
        assert make_queued_report(api) == local
    assert faulty_server.count(Fault.RESET) > 0
    assert list((tmp_path / "two" / "cache" / "holds").iterdir()) == []


def test_a_view_reads_them_and_lets_their_copies_go(object_server: str, tmp_path: Path) -> None:
    """It holds them no longer than it is computed."""
    assert object_server
    url = f"s3://{BUCKET}/{tmp_path.parent.name}-{tmp_path.name}"
    settings = read_settings(data=tmp_path, facts_url=url, explore_seconds=1000)
    moment = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)
    with holding():
        load_arrow(settings.facts_root, "plays", plays([(moment, "v", "c1")] * 41), "one")
    explorer = Explorer(settings)
    try:
        numbers = anyio.run(explorer.compute, QUICK, TENANT, 1)
    finally:
        explorer.close()
    assert numbers.totals == (Figure(41),)
    assert list((settings.cache_root / "holds").iterdir()) == []


_PLAYS = """
    SELECT
        TIMESTAMPTZ '{day} 00:00:00+00' + to_hours(i % 24) AS started_at, 'v' || i % 5000 AS video_id,
        'video' AS media_type, CASE WHEN i % 40 = 0 THEN 'c-demo' ELSE 'c' || (i * 37) % 600 END AS owner_channel_id,
        CASE WHEN i % 50 = 7 THEN 'c-demo' ELSE 'c' || (i * 11) % 600 END AS publisher_channel_id,
        CASE WHEN i % 90 = 7 THEN 'c-demo' END AS claimer_channel_id,
        ['FR', 'DE', 'IT'][1 + i % 3] AS visitor_country, md5('viewer ' || i) AS viewer,
        i % 3 AS views, i % 50 AS time_watched_seconds
    FROM range({rows}) t(i)
"""
_ADS = """
    SELECT
        TIMESTAMPTZ '{day} 00:00:00+00' + to_hours(i % 24) AS started_at, 'v' || i % 50 AS video_id,
        'video' AS media_type, CASE WHEN i % 4 = 0 THEN 'c-demo' ELSE 'c' || i % 60 END AS owner_channel_id,
        i % 2 AS impressions
    FROM range({rows}) t(i)
"""
MANY = 130_000


@pytest.fixture(scope="module")
def large_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables with a large file of two days, copies of it by role, a rollup of those days, and a small third day."""
    root = tmp_path_factory.mktemp("large") / "facts"
    with duckdb.connect() as session:
        session.execute("SET TimeZone = 'UTC'")

        def load(table: str, sql: str, day: int, rows: int) -> None:
            found = session.sql(sql.format(day=f"2026-01-0{day}", rows=rows)).to_arrow_table()
            load_arrow(root, table, found, f"day-{day}")

        load("plays", _PLAYS, 1, MANY)
        load("plays", _PLAYS, 2, MANY)
        load("ads", _ADS, 1, 2000)
        rollup = make_rollup("plays", ["visitor_country"])
        add_rollup(root, rollup)
        build_rollups(root, [rollup], space=10**9)
        compact(root, today=date(2027, 1, 1))
        copy_tables_by_roles(root)
        load("plays", _PLAYS, 3, 2000)
    return root


def upload(tables: Path, remote: Settings) -> None:
    """Put the tables into the object store as they are; rollups are of each machine."""
    for folder in (path for path in tables.iterdir() if not path.name.startswith(".")):
        store = open_store(remote.facts_root / folder.name)
        for name in LocalFolder(folder).list_names():
            store.put(name, (folder / name).read_bytes())
    shutil.copytree(tables / ".rollups", remote.facts_root / ".rollups")


ASKED: dict[str, dict[str, object]] = {
    "owner": {"dimensions": ["DAY", "VISITOR_COUNTRY"]},
    "no rollup": {"metrics": ["VIEWS", "LIVE_VIEWERS"], "dimensions": ["VIDEO_ID"], "startDate": "2026-01-02"},
    "copies": {"product": "EMBED", "dimensions": ["VIDEO_ID"]},
    "few copies": {"product": "CLAIM", "dimensions": ["DAY"]},
    "all roles": {"product": "ALL", "dimensions": ["DAY"]},
    "families": {"metrics": ["VIEWS", "IMPRESSIONS"], "dimensions": ["VIDEO_ID", "DAY"]},
}
VIEW = View((Metric.VIEWS,), (Dimension.VISITOR_COUNTRY,), date(2026, 1, 1), date(2026, 1, 3), Metric.VIEWS, Grain.DAY)


def make_all(settings: Settings) -> dict[str, bytes]:
    """Make a report of each kind, and a view of the explorer."""
    made = {}
    with open_api(settings) as api:
        for name, asked in ASKED.items():
            answer = api.ask(**{"endDate": "2026-01-03"} | asked)
            assert "errors" not in answer, answer
            made[name] = make_queued_report(api)
            assert made[name].count(b"\n") > 1
            if name == "owner" and settings.rollups != "off":
                read = {path.name for path in settings.cache_root.rglob("month-*")}
                assert read == set(), "its days are read from a rollup"
        assert bool(tallies.read_tallies(api.service.db).fetched_bytes) == bool(settings.facts_url)
    explorer = Explorer(settings)
    try:
        made["view"] = repr(anyio.run(explorer.compute, VIEW, Tenant(frozenset({"c-demo"})), 1)).encode()
    finally:
        explorer.close()
    return made


@pytest.mark.parametrize(("kind", "part"), [("owner", "/2026-01-03-"), ("copies", "/_by_publisher/")])
def test_a_store_that_is_away_for_a_moment_forgets_no_kept_file(
    faulty_server: FaultyProxy, large_tables: Path, tmp_path: Path, kind: str, part: str
) -> None:
    """An attempt that it fails says nothing of rollups and copies by role: the next one reads them."""
    url = f"s3://{BUCKET}/{tmp_path.parent.name}-{tmp_path.name}"
    settings = read_settings(data=tmp_path, facts_url=url, workers=0)
    upload(large_tables, settings)
    with open_api(settings) as api:
        assert "errors" not in api.ask(**{"endDate": "2026-01-03"} | ASKED[kind])
        rollups = RollupList.read(settings.facts_root).segments
        copies = set(open_store(settings.facts_root / "plays").list_names())
        faulty_server.fail(Fault.SLOW_DOWN, times=1, method="GET", part=part)
        with retry_for(0), pytest.raises(StoreUnavailable):
            make_queued_report(api)
        assert faulty_server.count(Fault.SLOW_DOWN) == 1
        assert RollupList.read(settings.facts_root).segments == rollups
        assert set(open_store(settings.facts_root / "plays").list_names()) == copies
        assert set(tallies.read_tallies(api.service.db).fallbacks.values()) == {0}


@pytest.mark.parametrize("rollups", ["on", pytest.param("off", marks=pytest.mark.long)])
def test_reports_from_an_object_store_have_the_same_bytes(
    object_server: str, large_tables: Path, tmp_path: Path, rollups: str
) -> None:
    """Of an owner, by copies, by all roles, of several families, with rollups and without, and so has a view."""
    assert object_server
    shutil.copytree(large_tables, tmp_path / "local" / "facts")
    # A report that is checked reads the facts too; which ones are is told by their ids, which are random.
    shared = {"workers": 0, "rollups": rollups, "rollup_checks": 0}
    local = make_all(read_settings(data=tmp_path / "local", **shared))
    url = f"s3://{BUCKET}/{tmp_path.parent.name}-{tmp_path.name}"
    remote = read_settings(data=tmp_path / "remote", facts_url=url, **shared)
    upload(large_tables, remote)
    assert make_all(remote) == local


def test_a_view_from_a_rollup_fetches_none_of_its_facts(object_server: str, large_tables: Path, tmp_path: Path) -> None:
    """Only the file of the day that the rollup lacks."""
    assert object_server
    url = f"s3://{BUCKET}/{tmp_path.parent.name}-{tmp_path.name}"
    settings = read_settings(data=tmp_path, facts_url=url, explore_seconds=1000)
    upload(large_tables, settings)
    explorer = Explorer(settings)
    try:
        anyio.run(explorer.compute, VIEW, Tenant(frozenset({"c-demo"})), 1)
    finally:
        explorer.close()
    (fetched,) = (path for path in (settings.cache_root / "files" / "facts" / "plays").rglob("*") if path.is_file())
    assert fetched.name.startswith("2026-01-03-")


def test_a_report_by_role_fetches_copies_alone(object_server: str, large_tables: Path, tmp_path: Path) -> None:
    """Not the file that they are of, of which it needs no row."""
    assert object_server
    url = f"s3://{BUCKET}/{tmp_path.parent.name}-{tmp_path.name}"
    settings = read_settings(data=tmp_path, facts_url=url, workers=0, rollups="off")
    upload(large_tables, settings)
    with open_api(settings) as api:
        assert "errors" not in api.ask(**{"endDate": "2026-01-03"} | ASKED["copies"])
        assert make_queued_report(api).count(b"\n") > 1
    cached = settings.cache_root / "files" / "facts" / "plays"
    assert list(cached.rglob("_by_publisher/month=2026-01/month-*"))
    assert not list(cached.glob("month=2026-01/month-*"))
