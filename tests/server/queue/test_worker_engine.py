"""What the engine of a worker is set to."""

from __future__ import annotations

from pathlib import Path

import pytest

from reelport.engine.plan import Plan
from reelport.server.queue.worker import make_engine
from reelport.server.settings import read_settings


@pytest.mark.parametrize(("url", "keeps"), [("", True), ("s3://bucket/facts", False)])
def test_footers_are_kept_of_tables_in_a_folder_alone(tmp_path: Path, url: str, keeps: bool) -> None:
    """A copy of an object store's file is touched by each report: none would be read by the footer that is kept."""
    settings = read_settings(data=tmp_path, facts_url=url, worker_threads=1)
    with make_engine(settings, "worker") as engine:
        plan = Plan("SELECT current_setting('parquet_metadata_cache')", ())
        assert engine.session().fetch(plan, "this page") == [(keeps,)]
