"""What the tests of the engine share: one warm engine and the fixed facts."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest

from reelport.engine.duckdb.engine import QueryEngine
from reelport.query import ReportQuery

from .few import ME, Ask
from .sample_world import open_sample
from .world import USUAL, Rows, Tables, World, laid


@pytest.fixture(scope="session", autouse=True)
def _usual(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let Spark aggregate wherever a test doesn't say who does, where that is wanted: `make spark-matrix`."""
    if os.environ.get("REELPORT_AGGREGATOR") != "spark":
        yield
        return
    from reelport.engine.spark.aggregator import SparkAggregator  # noqa: PLC0415 - of an extra

    cluster = request.getfixturevalue("cluster")
    folder = tmp_path_factory.mktemp("usual")
    with SparkAggregator(cluster.address, "matrix", folder, threading.Event()) as USUAL.aggregator:
        yield


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueryEngine]:
    with QueryEngine("1GiB", 2, tmp_path_factory.mktemp("spill")) as engine:
        yield engine


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, engine: QueryEngine) -> World:
    return open_sample(tmp_path_factory, engine)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose name a careless reader would take for a partition or a pattern."""
    return tmp_path / "owner_channel_id=c-rival" / "a*b?[c]' é"


@pytest.fixture
def facts(folder: Path, engine: QueryEngine) -> Callable[[Tables], Ask]:
    """A world of these tables, asked for two months of days."""

    def make(tables: Tables) -> Ask:
        world: World = laid(tables, folder, engine)

        def ask(metrics: str, dimensions: str = "", product: str = "CONTENT", **filters: str) -> Rows:
            days = date(2023, 6, 1), date(2023, 7, 31)
            return world.report(ReportQuery.of(metrics.split(), dimensions.split(), *days, filters, product), ME)

        return ask

    return make
