"""A worker in its own process never loads Arrow: it lists files by the Delta library alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from tests.patience import PATIENCE, until
from tests.sandboxes import copy_facts
from tests.server.api import open_api

from reelport.facts.loading.load import load_arrow
from reelport.facts.log.delta_log import open_delta
from reelport.server.settings import read_settings
from reelport.wire import LOOK

# A worker that says at its end which libraries it has loaded.
_RUN = """
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
        moment = datetime(2026, 1, 1, 5, tzinfo=UTC)
        row = {"started_at": moment, "owner_channel_id": "c-demo", "video_id": "v", "media_type": "video", "views": 3}
        load_arrow(settings.facts_root, "plays", pa.Table.from_pylist([row | {"time_watched_seconds": 1}]), "one")
        open_delta(settings.facts_root / "plays").create_checkpoint()
        token = api.ask()["data"]["askPartnerReportFile"]["reportFile"]["reportToken"]

        def look() -> str:
            status: str = api.graphql(LOOK, {"reportToken": token})["data"]["partner"]["reportFile"]["status"]
            return status

        with subprocess.Popen(
            [sys.executable, "-c", _RUN],
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
