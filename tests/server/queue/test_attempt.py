"""An attempt: what it records and publishes, the lease that is kept for it, its trace through processes."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
import structlog
from tests.engine.aggregators import ByParquet
from tests.engine.few import ME, play
from tests.engine.world import laid
from tests.patience import PATIENCE, until
from tests.server.api import ASK, INPUT, Api, open_api
from tests.server.conftest import State
from tests.server.syncs import count_syncs
from tests.server.traces.collector import Collector, collecting

from reelport.engine.compile import plan_pieces
from reelport.engine.duckdb.engine import Cancelled, QueryEngine
from reelport.engine.plan import Pieces, Plan, single_piece
from reelport.engine.tenant import Tenant
from reelport.errors import StorageError
from reelport.query import ReportQuery
from reelport.server.access.roles import Reach
from reelport.server.events import Kind, subscribe
from reelport.server.files import report_files
from reelport.server.queue import attempt, backlog, jobs
from reelport.server.queue.attempt import TracedAggregator, choose_aggregator
from reelport.server.queue.jobs import Claim
from reelport.server.queue.lease_keeper import LeaseKeeper, RunningAttempt, StopReason
from reelport.server.queue.worker import Worker
from reelport.server.reports import report_access, report_list
from reelport.server.settings import read_settings
from reelport.server.state.own_tables import require_own_tables
from reelport.server.traces import tracing
from reelport.wire import GRAPHQL_PATH


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[QueryEngine]:
    """An engine that spills beside the data."""
    with QueryEngine("200MB", 1, tmp_path / "spill") as opened:
        yield opened


def take(state: State, owner: str = "one") -> Claim:
    """Claim the report that waits."""
    claim = jobs.claim(state.db, owner, running=2, lease_seconds=30)
    assert claim is not None
    return claim


def make(state: State, claim: Claim, engine: QueryEngine) -> None:
    """Make one attempt."""
    attempt.make_report(state.db, state.settings, claim, engine.session(), attempt.clock, threading.Event())


def ask(state: State) -> None:
    """Let a report wait."""
    state.organization("demo", "c1")
    state.ask(state.caller(state.key("demo")))


def test_an_attempt_that_lost_its_lease_publishes_nothing(state: State, engine: QueryEngine) -> None:
    """Its versions can't be recorded, so its report is thrown away, draft and all."""
    ask(state)
    claim = take(state)
    with pytest.raises(attempt.LeaseLost):
        make(state, replace(claim, owner="another"), engine)
    assert not list(state.settings.files_root.iterdir())


def test_an_attempt_whose_draft_is_gone_with_its_lease_says_that_it_lost_the_lease(
    state: State, engine: QueryEngine
) -> None:
    """What others removed of it meanwhile is no fault of the disk."""
    ask(state)
    claim = take(state)
    assert jobs.pin_versions(state.db, claim, {"plays": -1})
    claim = replace(claim, versions={"plays": -1})
    report_files.prepare_draft(state.settings, claim.report_id, claim.attempt).mkdir()  # it can't be written
    with pytest.raises(StorageError, match="can't be written"):
        make(state, claim, engine)
    assert jobs.give_back(state.db, claim)
    take(state, "another")
    with pytest.raises(attempt.LeaseLost) as lost:
        make(state, claim, engine)
    assert isinstance(lost.value.__cause__, StorageError)


def test_no_report_is_made_of_tables_that_are_gone(state: State, engine: QueryEngine) -> None:
    """It would be empty, and nobody would know."""
    require_own_tables(state.db, state.settings)
    ask(state)
    state.settings.facts_root.rename(state.settings.data / "away")
    with pytest.raises(StorageError, match="are not there"):
        make(state, take(state), engine)
    assert not list(state.settings.files_root.iterdir())


def test_an_attempt_that_fails_has_recorded_what_it_read(state: State, engine: QueryEngine) -> None:
    """The next attempt reads the same versions."""
    ask(state)
    claim = take(state)
    report_files.prepare_draft(state.settings, claim.report_id, claim.attempt).mkdir()  # it can't be written
    with pytest.raises(StorageError, match="can't be written"):
        make(state, claim, engine)
    assert jobs.retry(state.db, claim, "The disk was full.", pause_seconds=0)
    assert take(state, "two").versions == {"plays": -1}


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_a_report_is_made_again_whose_claim_the_end_of_the_machine_undid(state: State, engine: QueryEngine) -> None:
    """A first claim need not be on the disk: the next one has its number, and what the first left is no hindrance."""
    ask(state)
    state.db.dispose()
    kept = state.settings.state_file.read_bytes()
    first = take(state)
    report_files.prepare_draft(state.settings, first.report_id, first.attempt).write_text("half a report")
    state.db.dispose()
    state.settings.state_file.write_bytes(kept)
    again = take(state, "two")
    assert (again.report_id, again.attempt) == (first.report_id, first.attempt)
    make(state, again, engine)
    assert [file.name for file in state.settings.files_root.iterdir()] == [f"{again.report_id}-{again.attempt}.csv"]
    assert not jobs.find_unfinished(state.db, [again.report_id])


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_a_later_claim_is_on_the_disk_before_it_is_worked_on(state: State, engine: QueryEngine) -> None:
    """No pin follows it that would be synced together with it, and no file of its number may be there twice."""
    ask(state)
    claim = take(state)
    report_files.prepare_draft(state.settings, claim.report_id, claim.attempt).mkdir()  # it can't be written
    with pytest.raises(StorageError, match="can't be written"):
        make(state, claim, engine)
    jobs.give_back(state.db, claim)
    assert count_syncs(lambda: take(state, "two")) == 1


TRACE, CALLERS_SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
DAY = date(2023, 7, 1)


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector that this process's traces are sent to."""
    with collecting() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        yield found


def ask_in_a_trace(api: Api) -> str:
    """Ask as a caller who is in a trace; the token of the report."""
    body = json.dumps({"query": ASK, "variables": {"input": INPUT}}).encode()
    answer = api.post(body, traceparent=f"00-{TRACE}-{CALLERS_SPAN}-01").json()
    token: str = answer["data"]["askPartnerReportFile"]["reportFile"]["reportToken"]
    return token


def work(api: Api, spill: Path, token: str) -> None:
    """Be the worker that makes the report."""
    service = api.service
    with QueryEngine("200MB", 1, spill) as engine, subscribe(service.db, Kind.REPORT_QUEUED) as events:
        worker = Worker(service.settings, service.db, engine, "one", events)
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            assert until(lambda: backlog.get_entry(service.db, token).state == "finished")
        finally:
            worker.stop()
            thread.join()


def test_one_trace_leads_from_the_ask_to_the_file(collector: Collector, tmp_path: Path) -> None:
    """The API ends its traces before the worker begins its own: what leads on is kept with the report."""
    with open_api(read_settings(data=tmp_path / "data", workers=0)) as api:
        with tracing.traced("api"):
            token = ask_in_a_trace(api)
        with tracing.traced("worker"):
            work(api, tmp_path / "spill", token)
        with tracing.traced("api"):
            assert api.client.get(api.link(token)).text == "day,views\n"
    # An end of traces waits for two seconds; on a busy machine its last spans come later.
    names = {"pin tables", "write report", "publish file", "make report", "wait in queue", "ask report", "GET /files"}
    assert until(lambda: names | {f"POST {GRAPHQL_PATH}"} <= {span.name for span in collector.spans})
    ours = {span.name: span for span in collector.spans if span.trace_id == TRACE}
    request, asked, made = ours.pop(f"POST {GRAPHQL_PATH}"), ours.pop("ask report"), ours.pop("make report")
    assert (request.parent_id, asked.parent_id, made.parent_id) == (CALLERS_SPAN, request.span_id, asked.span_id)
    assert (asked.resource["reelport.role"], made.resource["reelport.role"]) == ("api", "worker")
    assert ours.pop("wait in queue").parent_id == asked.span_id
    assert {name: span.parent_id for name, span in ours.items()} == dict.fromkeys(
        ("pin tables", "write report", "publish file"), made.span_id
    )
    (download,) = collector.named("GET /files")
    assert (download.links, download.trace_id != TRACE) == ((TRACE,), True)


def test_what_another_engine_aggregates_is_a_span_of_the_report(collector: Collector, tmp_path: Path) -> None:
    """By its name and days, within the span in which the report is written; chosen so for reports of Spark."""
    query, tenant = ReportQuery.of(["VIEWS"], ["DAY"], DAY, DAY), Tenant(ME)
    claim = Claim("r", "one", 1, query, ME, None)
    settings = read_settings(data=tmp_path, engine="sc://spark", spark_from_rows=0)
    with QueryEngine("200MB", 1, tmp_path / "spill") as engine, tracing.traced("worker"):
        snapshot = laid({"plays": [play(f"{DAY}T05:00:00")]}, tmp_path / "facts", engine).snapshot
        with tracing.span("write report"):
            with choose_aggregator(claim, snapshot, settings, engine.session()) as (chosen, _):
                assert isinstance(chosen, TracedAggregator)
            pieces = plan_pieces(
                query, tenant, snapshot, aggregator=TracedAggregator(ByParquet(tmp_path / "parts"), "spark")
            )
            engine.session().write(pieces, tmp_path / "r.csv")
    assert (tmp_path / "r.csv").read_text() == f"day,views\n{DAY},1\n"
    assert until(lambda: collector.named("aggregate") and collector.named("write report"))
    (span,), (whole,) = collector.named("aggregate"), collector.named("write report")
    assert span.attributes == {"reelport.aggregator": "spark", "reelport.days": f"{DAY}/{DAY}"}
    assert (span.trace_id, span.parent_id) == (whole.trace_id, whole.span_id)
    assert whole.attributes["reelport.aggregator"] == "spark"


ENDLESS = Plan("SELECT hash(i) AS n FROM range(1000000000000) t(i) WHERE hash(i) = 1", ("n",))
"""A report that takes hours, and writes nothing meanwhile."""
SLOW = Plan("SELECT hash(i) AS n FROM range(1000000000000) t(i) WHERE hash(i) % 100 = 1", ("n",))
"""A report that takes hours, and writes rows all the time."""


def tick(keeper: LeaseKeeper) -> bool:
    keeper.tick()
    return True


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_a_cancelled_report_stops_its_engine(state: State, tmp_path: Path) -> None:
    """At the keeper's next tick, in the middle of its statement; what was written is gone."""
    state.organization("demo", "c1")
    state.ask(state.caller(state.key("demo")))
    claim = jobs.claim(state.db, "one", running=2, lease_seconds=30)
    assert claim is not None
    draft, ended = tmp_path / "r.csv", list[type[BaseException]]()
    with QueryEngine("200MB", 1, tmp_path / "spill") as engine:
        running = RunningAttempt(claim, engine.session())

        def write() -> None:
            with pytest.raises(Cancelled) as raised:
                running.session.write(single_piece(ENDLESS), draft)
            ended.append(raised.type)

        writing = threading.Thread(target=write)
        writing.start()
        assert until(running.session.underway.is_set)
        assert until(draft.exists)
        keeper = LeaseKeeper(state.settings, state.db, running=lambda: (running,))
        keeper.tick()
        assert (running.stop, writing.is_alive()) == (None, True)
        backlog.cancel(state.db, claim.report_id, state.now)
        assert until(lambda: tick(keeper) and not writing.is_alive())
    assert (running.stop, ended, draft.exists()) == (StopReason.TAKEN, [Cancelled], False)


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_a_heartbeat_tells_what_is_written_so_far(state: State, tmp_path: Path) -> None:
    """Before the first row there is nothing to tell; then rows and bytes grow, for wire and Studio alike."""
    organization = state.organization("demo", "c1")
    caller = state.caller(state.key("demo"))
    asked = state.ask(caller)
    claim = jobs.claim(state.db, "one", running=2, lease_seconds=30)
    assert claim is not None

    def read() -> tuple[int | None, int | None]:
        found = report_access.find_report(state.db, caller, asked.token, state.now)
        listed = report_list.find_listed_report(state.db, Reach(organization), asked.id, state.now)
        assert found is not None
        assert listed is not None
        assert (found.details.rows, found.details.bytes) == (listed.rows, listed.bytes)
        return listed.rows, listed.bytes

    with QueryEngine("200MB", 1, tmp_path / "spill") as engine, ThreadPoolExecutor(1) as pool:
        running = RunningAttempt(claim, engine.session())
        keeper = LeaseKeeper(state.settings, state.db, running=lambda: (running,))
        keeper.tick()
        assert read() == (None, None)
        writing = pool.submit(running.session.write, single_piece(SLOW), tmp_path / "r.csv")
        assert until(lambda: tick(keeper) and read()[0] is not None)
        rows, size = read()
        assert rows is not None
        assert size is not None
        assert 0 < rows < size
        assert until(lambda: tick(keeper) and (read()[0] or 0) > rows)
        running.session.cancel()
        assert isinstance(writing.exception(PATIENCE), Cancelled)
    assert jobs.give_back(state.db, claim)
    assert jobs.claim(state.db, "two", running=2, lease_seconds=30) is not None
    assert read() == (None, None), "a new attempt begins anew"


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("why", "short"),
    [(StopReason.LONG, {}), (StopReason.LATE, {"generation_seconds": 1})],
)
def test_leases_are_kept_beside_an_attempt_that_stops_late(
    state: State, tmp_path: Path, why: StopReason, short: dict[str, float]
) -> None:
    """One that fetches its files notices an interrupt only afterwards: no report may lose its lease by that."""
    state.organization("demo", "c1")
    state.ask(state.caller(state.key("demo")))
    claim = jobs.claim(state.db, "one", running=2, lease_seconds=30)
    assert claim is not None
    settings = state.again(**short)
    fetching, fetched = threading.Event(), threading.Event()

    def fetch() -> Pieces:
        fetching.set()
        assert fetched.wait(PATIENCE)
        yield from single_piece(ENDLESS)

    with QueryEngine("200MB", 1, tmp_path / "spill") as engine:
        running = RunningAttempt(claim, engine.session(), is_express=True, started_at=time.monotonic() - 2)

        def write() -> None:
            with pytest.raises(Cancelled):
                running.session.write(fetch(), tmp_path / "r.csv")

        writing = threading.Thread(target=write)
        writing.start()
        # Before this, the statement that sets the limit of spilling could be what the interrupt meets.
        assert fetching.wait(PATIENCE)
        keeper = LeaseKeeper(settings, state.db, running=lambda: (running,), express_seconds=1)
        assert until(lambda: tick(keeper) and running.stop is why)
        assert writing.is_alive()
        before = running.renewed_at = running.renewed_at - settings.lease_seconds
        keeper.tick()
        fetched.set()
        writing.join(PATIENCE)
        assert not writing.is_alive()
    assert running.renewed_at > before, "its own lease is kept, too"
    assert jobs.postpone(state.db, claim)
    found = backlog.get_entry(state.db, claim.report_id)
    assert (found.state, found.losses, found.reason) == ("queued", 0, None)


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_a_worker_that_is_ready_keeps_up_its_other_duties(state: State) -> None:
    """A lease that ran out is found by its first tick, and nothing of the tick fails: that would only be in the log."""
    state.organization("demo")
    asked = state.ask(state.caller(state.key("demo")))
    assert jobs.claim(state.db, "silent", running=2, lease_seconds=0) is not None
    keeper = LeaseKeeper(state.settings, state.db, running=tuple, ready="here-1-abc")
    with structlog.testing.capture_logs() as logs, closing(keeper):
        keeper.tick()
    assert [log.get("reports") for log in logs] == [[asked.id]]
