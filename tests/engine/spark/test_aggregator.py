"""A report that Spark aggregated is, byte for byte, the report of DuckDB; and it ends when it is to end."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import date
from itertools import cycle
from pathlib import Path

import pytest
from deploy.fleet.spark_cluster import SparkCluster
from hypothesis import HealthCheck, given, settings
from tests.engine import sample
from tests.engine.drawn import queries
from tests.engine.few import ME, earned, play, video
from tests.engine.sample import END, MINE, START
from tests.engine.world import World, laid
from tests.patience import until

from reelport.catalog import Dimension, Family, Metric, Product
from reelport.engine.aggregation import DUCKDB
from reelport.engine.compile import plan_pieces
from reelport.engine.duckdb.engine import Cancelled, QueryEngine, Session
from reelport.engine.spark.aggregator import SparkAggregator
from reelport.engine.tenant import Tenant
from reelport.errors import EngineUnavailable, StorageError
from reelport.query import ReportQuery
from reelport.server.queue.jobs import Claim
from reelport.server.queue.lease_keeper import RunningAttempt, StopReason

pytestmark = [pytest.mark.long, pytest.mark.nightly]
"""A cluster is four Javas. What an aggregator elsewhere must keep is held in `tests/engine/test_aggregation.py`."""

ONCE = 10**9
BY_VIDEO = ReportQuery.of(["VIEWS", "TIME_WATCHED_SECONDS"], ["DAY", "VIDEO_ID", "VISITOR_COUNTRY"], START, END)

_OF_EACH_KIND = (Family.AUDIENCE, Family.LIVE, Family.REVENUE, Family.ADS_SOLD, Family.STORAGE)
"""Families with distinct counts, minutes, money, counts of ads, stocks."""
FAMILIES = [
    (family, product)
    for family, product in zip(Family, cycle(Product), strict=False)
    if family in _OF_EACH_KIND or os.environ.get("REELPORT_AGGREGATOR") == "spark"
]
"""All of them by `make spark-matrix`: Spark takes seconds for each."""

ODD = ["${env:HOME}", "a\\b", "it's", "line\nbreak", "%_*?[c]", "\\u0041", "é\u202e\U0001f600", ""]


def by_duckdb(world: World, query: ReportQuery, *, worth: int = ONCE) -> str:
    """The report that DuckDB makes alone, whoever aggregates where a test doesn't say."""
    return world.text(query, MINE, worth=worth, aggregator=DUCKDB)


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory, engine: QueryEngine) -> World:
    """The fixed facts in a file for every play, so often that a report is long."""
    tables = dict(sample.tables())
    plays = list(tables["plays"])
    random.Random(1).shuffle(plays)  # noqa: S311 - the same in every run
    return laid({**tables, "plays": plays}, tmp_path_factory.mktemp("long"), engine, rows_a_file=1)


@pytest.mark.parametrize(("family", "product"), FAMILIES, ids=str)
def test_every_metric_by_every_dimension_is_the_same(
    world: World, aggregator: SparkAggregator, family: Family, product: Product
) -> None:
    """All metrics of a family by all their dimensions at once: keys, sums, distinct counts, lookups, titles, tags."""
    metrics = [metric for metric in Metric if metric.family is family]
    dimensions = [dimension for dimension in Dimension if dimension in family.dimensions(permissive=True)]
    query = ReportQuery.of(metrics, dimensions, START, END, {}, product)
    assert world.text(query, MINE, worth=ONCE, aggregator=aggregator) == by_duckdb(world, query)


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=queries())
def test_a_drawn_report_is_the_same(world: World, aggregator: SparkAggregator, query: ReportQuery) -> None:
    """Families, products, dimensions and days in any combination, month by month where that can be."""
    assert world.text(query, MINE, aggregator=aggregator) == by_duckdb(world, query, worth=0)


def test_a_filter_is_taken_literally(folder: Path, engine: QueryEngine, aggregator: SparkAggregator) -> None:
    """Neither a variable, nor an escape, nor a pattern; in a folder whose name is one. Tags keep their escapes."""
    plays = [play(visitor_domain_group=text or None, views=2**at) for at, text in enumerate(ODD)]
    world = laid({"videos": [video("x1", tags=["a|b", "c\\d"])], "plays": plays}, folder, engine)
    for text in ODD:
        filters = {"visitorDomainGroup": text}
        query = ReportQuery.of(["VIEWS"], ["VISITOR_DOMAIN_GROUP", "CONTENT_TAG_LIST"], START, END, filters)
        assert world.text(query, ME, aggregator=aggregator) == world.text(query, ME, aggregator=DUCKDB)
        assert world.report(query, ME)[0][0] == text


def test_sums_keep_all_their_digits(folder: Path, engine: QueryEngine, aggregator: SparkAggregator) -> None:
    """Sums that no integer of 64 bits holds, and money to its last digit."""
    most, day = 2**63 - 1, date(2023, 7, 1)
    world = laid({"plays": [play(views=most)] * 3, "earnings": [earned("999999999999.999999")] * 3}, folder, engine)
    query = ReportQuery.of(["VIEWS", "ESTIMATED_EARNINGS_EUR"], [], day, day)
    assert world.text(query, ME, aggregator=aggregator).splitlines()[1] == f"{3 * most},2999999999999.999997"


def test_a_report_without_facts_is_a_header(world: World, aggregator: SparkAggregator) -> None:
    """An aggregation of no rows gives no row, with dimensions or without."""
    for dimensions in (["DAY", "VIDEO_ID"], []):
        query = ReportQuery.of(["VIEWS"], dimensions, date(2020, 1, 1), date(2020, 1, 9))
        header = ",".join([*dimensions, "VIEWS"]).lower()
        assert world.text(query, MINE, aggregator=aggregator) == f"{header}\n"


def test_a_file_that_spark_does_not_see_fails_the_report(
    folder: Path, engine: QueryEngine, aggregator: SparkAggregator
) -> None:
    """No cluster's setting makes a smaller report of it, and the error says where facts must lie."""
    lacking = laid(sample.tables(), folder, engine)
    (folder / "plays" / lacking.snapshot.listing["plays"][0].path).unlink()
    query = ReportQuery.of(["VIEWS"], [], sample.FIRST, sample.LAST)
    with pytest.raises(StorageError, match="must see the data directory under the same path"):
        lacking.text(query, MINE, worth=ONCE, aggregator=aggregator)


def test_what_was_aggregated_is_deleted(world: World, cluster: SparkCluster, tmp_path: Path) -> None:
    """While one piece is written its file is there; at the end none is."""
    with SparkAggregator(cluster.address, "test", tmp_path, threading.Event()) as aggregator:
        world.text(BY_VIDEO, MINE, aggregator=aggregator)
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_cancelled_report_stops_in_spark(
    long: World, cluster: SparkCluster, engine: QueryEngine, tmp_path: Path
) -> None:
    """The attempt's interrupt ends the write here and the tasks there; no file is left."""
    session = engine.session()
    claim = Claim("r", "one", 1, BY_VIDEO, MINE, None)
    with started(long, cluster, session, tmp_path) as running:
        assert until(lambda: cluster.running_tasks() > 0 or running.done())
        RunningAttempt(claim, session).interrupt(StopReason.TAKEN)
        with pytest.raises(Cancelled):
            running.result()
        assert until(lambda: cluster.running_tasks() == 0)
    states = {job["status"] for job in cluster.ask("jobs")}
    assert "FAILED" in states
    assert list(tmp_path.rglob("*.*")) == []


def test_a_worker_that_is_killed_in_mid_report_changes_nothing(
    long: World, cluster: SparkCluster, engine: QueryEngine, tmp_path: Path
) -> None:
    """Spark does again elsewhere what was lost with it, and the right file comes out."""
    try:
        with started(long, cluster, engine.session(), tmp_path) as running:
            assert until(lambda: cluster.running_tasks() == 2 or running.done())
            cluster.kill("two")
            assert not running.done()
            running.result()
        assert until(lambda: cluster.executors() == 1)
        assert (tmp_path / "r.csv").read_text() == by_duckdb(long, BY_VIDEO)
    finally:
        cluster.start_worker("two")


def test_a_server_that_dies_in_mid_report_is_an_engine_to_wait_for(
    world: World, long: World, cluster: SparkCluster, engine: QueryEngine, tmp_path: Path
) -> None:
    """The error names the server, and not the report; once it is back a report is made.

    A report that it began before and goes on with after has to wait, too: a session goes with its server.
    """
    with ExitStack() as sessions:
        before = sessions.enter_context(SparkAggregator(cluster.address, "old", tmp_path / "old", threading.Event()))
        world.text(BY_VIDEO, MINE, worth=ONCE, aggregator=before)
        kill_server(long, cluster, engine, tmp_path)
        for _ in range(2):
            with pytest.raises(EngineUnavailable, match="was started anew"):
                world.text(BY_VIDEO, MINE, worth=ONCE, aggregator=before)
    with SparkAggregator(cluster.address, "new", tmp_path / "new", threading.Event()) as after:
        assert world.text(BY_VIDEO, MINE, worth=ONCE, aggregator=after) == by_duckdb(world, BY_VIDEO)


def kill_server(world: World, cluster: SparkCluster, engine: QueryEngine, folder: Path) -> None:
    """Kill the Connect server while a report runs, and start it anew."""
    try:
        with started(world, cluster, engine.session(), folder) as running:
            assert until(lambda: cluster.running_tasks() > 0 or running.done())
            cluster.kill("connect")
            with pytest.raises(EngineUnavailable, match=rf"127.0.0.1:{cluster.connect} can't be reached"):
                running.result()
    finally:
        cluster.start_connect()


@contextmanager
def started(world: World, cluster: SparkCluster, session: Session, folder: Path) -> Iterator[Future[object]]:
    """A report that Spark aggregates, being written in a thread into `r.csv`."""
    with (
        ThreadPoolExecutor(1) as pool,
        SparkAggregator(cluster.address, "test", folder / "spool", session.cancelled) as aggregator,
    ):
        pieces = plan_pieces(BY_VIDEO, Tenant(MINE), world.snapshot, aggregator=aggregator, worth=ONCE)
        yield pool.submit(session.write, pieces, folder / "r.csv")
