"""What the service does beside a report that Spark aggregates: its trace, and the check of `doctor`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from functools import partial
from pathlib import Path

import pytest
from deploy.fleet.spark_cluster import SparkCluster
from tests.engine.few import ME, play
from tests.engine.world import laid, loaded
from tests.patience import free_port, until
from tests.server.traces.collector import Collector, collecting

from reelport.engine.compile import plan_pieces
from reelport.engine.duckdb.engine import QueryEngine
from reelport.engine.tenant import Tenant
from reelport.errors import EngineUnavailable
from reelport.query import ReportQuery
from reelport.server.doctor.checks import check_spark
from reelport.server.queue.attempt import choose_aggregator
from reelport.server.queue.jobs import Claim
from reelport.server.settings import read_settings
from reelport.server.traces import tracing

pytestmark = pytest.mark.long
DAY = date(2023, 7, 1)


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector that this process's traces are sent to."""
    with collecting() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        yield found


def test_what_spark_aggregates_is_a_span_of_the_report(
    spark: SparkCluster, engine: QueryEngine, tmp_path: Path, collector: Collector
) -> None:
    """By its name and days, within the span in which the report is written, and as long as Spark takes for it."""
    world = laid({"plays": [play(f"{DAY}T05:00:00"), play(f"{DAY}T06:00:00")]}, tmp_path / "facts", engine)
    query = ReportQuery.of(["VIEWS"], ["DAY"], DAY, DAY)
    settings = read_settings(data=tmp_path, engine=spark.address, spark_from_rows=0)
    claim, tenant, session = Claim("r", "one", 1, query, ME, None), Tenant(ME), engine.session()
    plan = partial(plan_pieces, query, tenant, world.snapshot)
    with tracing.traced("test"), tracing.span("write report") as outer:
        with choose_aggregator(claim, world.snapshot, settings, session) as (aggregator, _):
            session.write(plan(aggregator=aggregator), tmp_path / "report.csv")
        assert outer.trace_id
    assert (tmp_path / "report.csv").read_text() == f"day,views\n{DAY},2\n"
    assert until(lambda: collector.named("write report"))
    (span,), (whole,) = collector.named("aggregate"), collector.named("write report")
    assert span.attributes == {"reelport.aggregator": "spark", "reelport.days": f"{DAY}/{DAY}"}
    assert (span.trace_id, span.parent_id, span.failed) == (whole.trace_id, whole.span_id, False)
    assert whole.attributes["reelport.aggregator"] == "spark"
    assert whole.began <= span.began < span.ended <= whole.ended


def test_doctor_asks_the_server_and_its_workers(spark: SparkCluster, engine: QueryEngine, tmp_path: Path) -> None:
    """The server says its version, and its workers count the rows of a file of facts; without facts that is said."""
    settings = read_settings(data=tmp_path, engine=spark.address)
    answers = list(check_spark(settings))
    assert [well for well, _ in answers] == [True, True]
    assert f" at {spark.address} aggregates reports over 2,000,000,000 rows of facts or more." in answers[0][1]
    assert answers[1][1] == "There are no facts yet by which to see whether its workers read them."
    loaded({"plays": [play(f"{DAY}T05:00:00"), play(f"{DAY}T06:00:00")]}, tmp_path, engine)
    read = list(check_spark(settings))[1][1]
    assert read.startswith(f"Its workers read {settings.facts_root}")
    assert read.endswith("(2 rows).")


def test_doctor_says_which_server_is_lost(tmp_path: Path) -> None:
    """By its address."""
    address = f"sc://127.0.0.1:{free_port()}"
    with pytest.raises(EngineUnavailable, match=address):
        list(check_spark(read_settings(data=tmp_path, engine=address)))
