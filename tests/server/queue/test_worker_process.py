"""The process of a worker: what it does before it is ready, its engine, and the memory that it gives back at rest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.sandboxes import begin_sandbox, sample_channels

from reelport.engine.plan import Plan
from reelport.facts.tables import TABLES
from reelport.server.queue.worker import make_engine
from reelport.server.queue.worker_memory import RestMemory, read_own_memory
from reelport.server.settings import read_settings

# A worker's own start, then a report of each kind; what these load, and which logs of tables they read.
_RUN = """
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
        [sys.executable, "-c", _RUN, channels],
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
