"""From what a report is made: by DuckDB or Spark, and from the facts themselves where copies by role are damaged."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs
from tests.cases import thin_out
from tests.engine.few import ME, play
from tests.engine.world import laid
from tests.fact_rows import make_shown_plays
from tests.patience import free_port, until
from tests.server.conftest import State
from tests.server.queue.running import running_worker

from reelport.catalog import Product
from reelport.engine.duckdb.engine import QueryEngine
from reelport.engine.resolved_query import resolve_query
from reelport.engine.rollups.choice import RollupAggregator, RollupList
from reelport.engine.spark.aggregator import SparkAggregator
from reelport.engine.tenant import Tenant
from reelport.errors import StorageError, UsageError
from reelport.facts.loading.compaction import CopiedTable, copy_tables_by_roles
from reelport.facts.loading.load import load_arrow
from reelport.facts.log.role_copies import LEAST_ROWS
from reelport.query import ReportQuery
from reelport.server.access.roles import Reach
from reelport.server.events import Kind, subscribe
from reelport.server.queue import attempt, backlog, jobs
from reelport.server.queue.attempt import choose_aggregator
from reelport.server.queue.jobs import Claim
from reelport.server.queue.supervisor import run_workers
from reelport.server.queue.worker import Worker
from reelport.server.reports import report_list
from reelport.server.reports.ask import ask_report
from reelport.server.settings import read_settings
from reelport.server.state.tallies import Fallback, read_tallies


@pytest.mark.parametrize(
    ("engine", "more", "is_spark"), [("sc://spark", 0, True), ("sc://spark", 1, False), ("", 0, False)]
)
def test_a_report_goes_to_spark_from_a_size_on(tmp_path: Path, engine: str, more: int, *, is_spark: bool) -> None:
    """By the rows in the files that it reads of its days and channels, and the log says so; without an address none."""
    plays = [play("2023-07-01T05:00:00"), play("2023-07-02T05:00:00"), play("2023-08-01T05:00:00")]
    with QueryEngine("200MB", 1, tmp_path / "spill") as duckdb:
        snapshot = laid({"plays": plays}, tmp_path / "facts", duckdb, rows_a_file=1).snapshot
    query = ReportQuery.of(["VIEWS"], ["DAY"], date(2023, 7, 1), date(2023, 7, 31))
    claim = Claim("r", "one", 1, query, ME, None)
    assert RollupAggregator(RollupList()).count_rows_read(resolve_query(query, Tenant(ME)), snapshot) == 2
    settings = read_settings(data=tmp_path, engine=engine, spark_from_rows=2 + more)
    with (
        QueryEngine("200MB", 1, tmp_path / "spill") as duckdb,
        capture_logs() as lines,
        choose_aggregator(claim, snapshot, settings, duckdb.session()) as (aggregator, _),
    ):
        assert isinstance(aggregator, SparkAggregator) == is_spark
    told = [(line["report"], line["facts"]) for line in lines if line["event"] == "report goes to Spark"]
    assert told == ([("r", 2)] if is_spark else [])


@pytest.mark.long
def test_a_report_waits_for_a_lost_server_and_is_not_blamed(state: State, tmp_path: Path) -> None:
    """Its attempts count no failure; once its time of waiting is over it fails, and says which server is lost."""
    address = f"sc://127.0.0.1:{free_port()}"
    settings = state.again(engine=f"{address}/;token=very-secret", spark_from_rows=0)
    state.now = datetime.now(UTC)
    state.organization("demo", "c-news")
    asked = state.ask(state.caller(state.key("demo")))
    with (
        QueryEngine("200MB", 1, tmp_path / "spill") as engine,
        subscribe(state.db, Kind.REPORT_QUEUED) as events,
        running_worker(Worker(settings, state.db, engine, "one", events, room_seconds=1)),
    ):
        assert until(lambda: backlog.get_entry(state.db, asked.id).waited_for_room > 0)
        waiting = backlog.get_entry(state.db, asked.id)
        assert f"{address} can't be reached" in str(waiting.reason)
        assert "It waits for the engine" in str(waiting.reason)
        assert "Connection refused)" in str(waiting.reason)
        assert waiting.failures == 0
        assert address not in read_as_partner(state, asked.id)
        assert until(lambda: backlog.get_entry(state.db, asked.id).state == "failed")
    reason = str(backlog.get_entry(state.db, asked.id).reason)
    assert "waited 1 seconds for the engine. Bring it back" in reason
    assert "very-secret" not in reason
    assert read_as_partner(state, asked.id).startswith("A part of the platform was away for too long. Ask again later")


def read_as_partner(state: State, report_id: str) -> str:
    """What a report's own people read of its failure."""
    found = report_list.find_listed_report(state.db, Reach(1), report_id, state.now)
    assert found is not None
    return str(found.reason)


def test_an_address_that_is_none_is_refused(tmp_path: Path) -> None:
    """What it looks like is told, and a token in it is not."""
    with pytest.raises(UsageError, match="such as sc://spark"):
        read_settings(data=tmp_path, engine="spark://master:7077")
    assert "very-secret" not in repr(read_settings(data=tmp_path, engine="sc://spark:15002/;token=very-secret"))


def test_workers_without_the_client_of_spark_are_not_started(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """The start says what to install; an API without workers doesn't need it."""
    monkeypatch.setitem(sys.modules, "pyspark", None)
    settings = state.again(engine="sc://spark:15002/;token=very-secret")
    with (
        pytest.raises(UsageError, match=r"pip install 'reelport\[server,spark\]'") as refused,
        run_workers(settings, 1),
    ):
        pass
    assert "or EXTRAS=spark deploy/install.sh DIRECTORY for a new one" in str(refused.value)
    assert "very-secret" not in str(refused.value)
    with run_workers(settings, 0):
        pass


def test_spark_beside_tables_in_an_object_store_is_refused(tmp_path: Path) -> None:
    """It would be asked for files that lie on no path of its own."""
    with pytest.raises(UsageError, match="REELPORT_ENGINE: Spark doesn't see tables in an object store"):
        read_settings(data=tmp_path, engine="sc://spark:15002", facts_url="s3://bucket/prefix")


DAY = date(2026, 1, 5)
Make = Callable[..., tuple[str, list[dict[str, object]]]]


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Plays of a day that one channel's players showed, with copies by role: each test has its own."""
    root = tmp_path_factory.mktemp("copied") / "facts"
    load_arrow(root, "plays", make_shown_plays(datetime(2026, 1, 5, tzinfo=UTC)), "one")
    assert copy_tables_by_roles(root) == (CopiedTable("plays", 2),)
    return root


@pytest.fixture
def make(state: State, copied: Path, tmp_path: Path) -> Iterator[Make]:
    """Makes a report of that day, by this dimension; its text, and what was logged."""
    shutil.copytree(copied, state.settings.facts_root)
    state.organization("demo", "c1")
    caller = state.caller(state.key("demo"))

    def report(dimension: str) -> tuple[str, list[dict[str, object]]]:
        ask_report(
            state.db,
            state.settings,
            caller,
            ReportQuery.of(["VIEWS"], [dimension], DAY, DAY, {}, Product.EMBED),
            state.now,
        )
        claim = jobs.claim(state.db, "one", running=9, lease_seconds=30)
        assert claim is not None
        with structlog.testing.capture_logs() as logs:
            record = attempt.make_report(
                state.db, state.settings, claim, engine.session(), attempt.clock, threading.Event()
            )
        assert backlog.get_entry(state.db, claim.report_id).state == "finished"
        return (state.settings.files_root / record.name).read_text(), [dict(log) for log in logs]

    with QueryEngine("300MB", 1, tmp_path / "spill") as engine:
        yield report


def copy_of(state: State) -> Path:
    """The copy of the one file by publisher."""
    (path,) = (state.settings.facts_root / "plays").rglob("_by_publisher/*/*.parquet")
    return path


def cut(path: Path) -> None:
    """Let the first half of a file be lost, as a damaged disk may lose it: its description is whole."""
    content = path.read_bytes()
    path.write_bytes(bytes(len(content) // 2) + content[len(content) // 2 :])


@pytest.mark.parametrize(
    "damage", thin_out([cut, lambda path: path.write_bytes(b"no Parquet")], 3), ids=["cut", "no Parquet"]
)
def test_a_damaged_copy_fails_no_report(state: State, make: Make, damage: Callable[[Path], object]) -> None:
    """The same attempt reads the file instead, says so and counts it; deleted, the copy is made by the next copying."""
    damage(copy_of(state))
    text, logs = make("DAY")
    assert text == f"day,views\n2026-01-05,{LEAST_ROWS}\n"
    assert [log["event"] for log in logs] == [
        "copies by role can't be read: the report is made from the files themselves"
    ]
    assert read_tallies(state.db).fallbacks == {Fallback.SUMS: 0, Fallback.COPIES: 1}
    copy_of(state).unlink()
    assert make("MONTH") == (f"month,views\n2026-01,{LEAST_ROWS}\n", [])
    assert copy_tables_by_roles(state.settings.facts_root) == (CopiedTable("plays", 1),)
    assert make("MEDIA_TYPE") == (f"media_type,views\nvideo,{LEAST_ROWS}\n", [])
    assert read_tallies(state.db).fallbacks[Fallback.COPIES] == 1


def test_a_damaged_file_of_facts_fails_its_report(state: State, make: Make) -> None:
    """Whatever copies there are: nothing is counted."""
    (path,) = (state.settings.facts_root / "plays").glob("month=*/*.parquet")
    for each in (copy_of(state), path):
        each.write_bytes(b"no Parquet")
    with pytest.raises(StorageError):
        make("DAY")
    assert set(read_tallies(state.db).fallbacks.values()) == {0}
