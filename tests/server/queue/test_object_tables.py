"""Reports and views over tables in an object store: the bytes of those over a folder."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pyarrow as pa
import pytest
from tests.server.api import Api, open_api
from tests.server.explore.endless import DAY, QUICK, TENANT
from tests.storage.object_server import BUCKET, Fault, FaultyProxy

from reelport.facts.loading.load import load_arrow
from reelport.server.explore.explorer import Explorer
from reelport.server.explore.numbers import Figure, Totals
from reelport.server.queue import attempt, jobs
from reelport.server.queue.worker_process import make_engine
from reelport.server.settings import Settings, read_settings
from reelport.storage.file_cache import holding
from reelport.storage.file_store import read_file


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
    same = {"media_type": "video", "views": 1, "time_watched_seconds": 7}
    return pa.Table.from_pylist(
        [{"started_at": at, "video_id": video, "owner_channel_id": owner, **same} for at, video, owner in rows]
    )


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


@pytest.mark.long
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
    settings = read_settings(data=tmp_path, facts_url=url, explore_seconds=1000, explore_threads=1)
    moment = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)
    with holding():
        load_arrow(settings.facts_root, "plays", plays([(moment, "v", "c1")] * 41), "one")
    explorer = Explorer(settings)
    try:
        numbers = anyio.run(explorer.compute, QUICK, TENANT, 1)
    finally:
        explorer.close()
    assert numbers.totals == Totals((Figure(41),))
    assert list((settings.cache_root / "holds").iterdir()) == []
