"""What is built and suggested of tables in an object store fetches the files that it reads, and no other."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from tests.facts.conftest import remote_tables

from reelport.catalog import Product
from reelport.engine.rollups.build import build_rollups
from reelport.engine.rollups.shape import make_rollup
from reelport.engine.rollups.suggestion import count_demand, suggest_rollups
from reelport.engine.tenant import Tenant
from reelport.facts.loading.load import load_arrow
from reelport.facts.log.log_files import attach_tables
from reelport.facts.log.snapshot import pin
from reelport.facts.rollups import add_rollup
from reelport.query import ReportQuery
from reelport.storage.file_cache import FileCache

DAYS = (date(2026, 1, 5), date(2026, 2, 5), date(2026, 3, 5))


def load_day(root: Path, day: date) -> None:
    """Load a play of one day."""
    texts = {"started_at": f"{day}T05:00:00", "owner_channel_id": "c1", "video_id": "v", "media_type": "video"}
    counts = {"views": 1, "time_watched_seconds": 1}
    load_arrow(root, "plays", pa.Table.from_pylist([{**texts, **counts}]), f"{day}")


def attach_cache(root: Path, name: str, size: int = 10**9) -> None:
    """Let the tables be read through this cache: what is loaded stays in the cache of whoever loads."""
    attach_tables(root, replace(remote_tables(root), cache=FileCache(root.parent / name, size, "facts/")))


@pytest.fixture
def root(object_server: str, tmp_path: Path) -> Path:
    """Three months of plays in an object store, of which this machine has nothing yet."""
    assert object_server
    root = tmp_path / "facts"
    attach_cache(root, "loading")
    for day in DAYS:
        load_day(root, day)
    attach_cache(root, "cache")
    return root


def fetched(root: Path) -> list[str]:
    """The months of the files that this machine has."""
    return sorted(path.parent.name for path in (root.parent / "cache" / "files").rglob("*.parquet"))


def test_a_suggestion_fetches_the_newest_file_alone(root: Path) -> None:
    """It measures candidates by that."""
    query = ReportQuery.of(["VIEWS"], ["DAY"], DAYS[0], DAYS[-1], {}, Product.ALL)
    snapshot = pin(root, ["plays"])
    suggest_rollups(root, count_demand([(query, Tenant(frozenset({"c1"})))], snapshot), snapshot, (), space=10**9)
    assert fetched(root) == ["month=2026-03"]


def test_a_build_fetches_the_months_that_it_sums(root: Path) -> None:
    """A day that was loaded since costs its own file."""
    add_rollup(root, make_rollup("plays", []))
    assert [built.problem for built in build_rollups(root, space=10**9)] == [None] * 3
    for path in (root.parent / "cache" / "files").rglob("*.parquet"):
        path.unlink()
    attach_cache(root, "loading")
    load_day(root, date(2026, 2, 6))
    attach_cache(root, "cache")
    assert [built.month for built in build_rollups(root, space=10**9)] == ["2026-02"]
    assert fetched(root) == ["month=2026-02"]


def test_a_build_holds_the_files_of_one_month_at_a_time(root: Path) -> None:
    """A cache that is smaller than all months lets the former month go when the next one is fetched."""
    attach_cache(root, "cache", 100)
    add_rollup(root, make_rollup("plays", []))
    there: list[list[str]] = []
    build_rollups(root, space=10**9, progress=lambda _: there.append(fetched(root)))
    assert there == [["month=2026-03"], ["month=2026-02"], ["month=2026-01"]]
