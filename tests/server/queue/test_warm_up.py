"""A worker that says that it is ready has done before what is slow the first time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.sandboxes import begin_sandbox, sample_channels

from reelport.facts.tables import TABLES
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
from reelport.server.queue.warm_up import warm_up

settings = read_settings()
with worker.make_engine(settings, "one") as engine:
    warm_up(settings.facts_root, engine, liveness.spill_folder(settings, "one"))
    loaded, opened = set(sys.modules), snapshot._list_files_at.cache_info().misses
    rows = []
    for metrics, dimensions in (["VIEWS"], ["DAY", "VIDEO_TITLE"]), (["ESTIMATED_EARNINGS_EUR"], ["CHANNEL_SLUG"]):
        query = ReportQuery.of(metrics, dimensions, date(2026, 7, 1), date(2026, 7, 2))
        pinned = snapshot.pin(settings.facts_root, tables_of(query))
        tenant = Tenant(frozenset(json.loads(sys.argv[1])))
        rows.append(engine.session().write(plan_pieces(query, tenant, pinned), settings.data / "report.csv").rows)
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
