"""A report that is too large says by how much, and which dimension makes it so; nothing waits for that for long."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest
import structlog
from sqlalchemy import text
from tests.patience import until
from tests.server.conftest import State
from tests.server.queue.running import running_worker

from reelport.engine.duckdb.engine import QueryEngine
from reelport.facts.loading.load import load_arrow
from reelport.query import ReportQuery
from reelport.report_details import Failure, FailureReason
from reelport.server.access.callers import Caller
from reelport.server.access.roles import Reach
from reelport.server.events.bus import Kind, subscribe
from reelport.server.queue import backlog, deaths, jobs, oversize
from reelport.server.queue.jobs import Claim
from reelport.server.queue.lease_keeper import RunningAttempt, StopReason
from reelport.server.queue.worker import Worker
from reelport.server.reports import report_access, report_list
from reelport.server.reports.ask import AskedReport, ask_report

DAYS, VIDEOS = 10, 40
QUERY = ReportQuery.of(["VIEWS"], ["DAY", "VIDEO_ID", "VISITOR_COUNTRY"], date(2026, 1, 1), date(2026, 1, DAYS))
SIZE = re.compile(
    r"(.*) It would have about (\d+) rows(.*)\. VIDEO_ID alone has about (\d+) values in 5 of its 10 days\."
)

pytestmark = pytest.mark.parametrize("kind", ["sqlite"], indirect=True)


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Plays of each video on each day."""
    rows = [
        {"started_at": f"2026-01-{day:02}T05:00:00", "owner_channel_id": "c1", "video_id": f"v{number}"}
        | {"media_type": "video", "views": 1, "time_watched_seconds": 1, "visitor_country": "FR"}
        for day in range(1, DAYS + 1)
        for number in range(VIDEOS)
    ]
    root = tmp_path_factory.mktemp("facts") / "facts"
    load_arrow(root, "plays", pa.Table.from_pylist(rows), "one")
    return root


@pytest.fixture
def caller(state: State, facts: Path) -> Caller:
    """A key of an organization that reads these plays."""
    state.settings.facts_root.parent.mkdir(parents=True, exist_ok=True)
    state.settings.facts_root.symlink_to(facts)
    state.now = datetime.now(UTC)  # a worker deletes what is over
    state.organization("demo", "c1")
    return state.caller(state.key("demo"))


@pytest.fixture
def asked(state: State, caller: Caller) -> AskedReport:
    """A report of all of them."""
    return ask_report(state.db, state.settings, caller, QUERY, state.now)


@pytest.fixture
def worker(state: State, tmp_path: Path) -> Iterator[Worker]:
    """A worker whose engine has too little memory for any report."""
    with QueryEngine("2MB", 1, tmp_path / "spill") as engine, subscribe(state.db, Kind.REPORT_QUEUED) as events:
        yield Worker(state.again(worker_memory="2MB"), state.db, engine, "one", events)


def failure(state: State, caller: Caller, asked: AskedReport) -> Failure:
    """Why it failed, by the wire; Studio says the same."""
    found = report_access.find_report(state.db, caller, asked.token, state.now)
    assert found is not None
    assert found.details.failure is not None
    listed = report_list.find_listed_report(state.db, Reach(caller.organization_id), asked.id, state.now)
    assert listed is not None
    assert listed.reason == f"{found.details.failure.message} {found.details.failure.advice}"
    return found.details.failure


def without_size(message: str) -> tuple[str, str]:
    """What it says before the size, and of memory; what is counted is about right."""
    found = SIZE.fullmatch(message)
    assert found is not None, message
    before, rows, need, values = found.groups()
    assert int(rows) == pytest.approx(DAYS * VIDEOS, rel=0.1)
    assert int(values) == pytest.approx(VIDEOS, rel=0.1)
    return before, need


def test_what_needs_too_much_memory_alone_says_how_large_it_is(
    state: State, caller: Caller, asked: AskedReport, worker: Worker
) -> None:
    """Its rows and its widest dimension; the engine's own words are the operator's."""
    with state.db.begin() as connection:
        connection.execute(text("UPDATE reports SET failures = 2"))
    with running_worker(worker):
        assert until(lambda: backlog.get_entry(state.db, asked.id).state == "failed")
    found, reason = failure(state, caller, asked), FailureReason.TOO_LARGE
    assert (found.code, found.advice) == (reason.value, reason.advice)
    assert without_size(found.message) == (reason.sentence, "")
    assert "needs more memory than the engine has" in str(backlog.get_entry(state.db, asked.id).reason)


def claim(state: State, *, suspect: bool = False) -> Claim:
    """The report's job, taken alone."""
    with state.db.begin() as connection:
        connection.execute(text("UPDATE jobs SET not_before = 0"))
    found = jobs.claim(state.db, "one", running=9, lease_seconds=30, suspect=suspect)
    assert found is not None
    return found


def test_what_kills_its_worker_says_how_large_it_is(state: State, caller: Caller, asked: AskedReport) -> None:
    """It is measured before an isolated worker makes it: afterwards nobody is left who could."""
    for suspect in (False, True, True):
        made = claim(state, suspect=suspect)
        if suspect:
            oversize.note_suspect(state.db, state.settings, made)
        deaths.record_death(state.db, "one", "was killed by SIGKILL", limit=3, now=state.now)
    found = failure(state, caller, asked)
    assert found.code == FailureReason.TOO_LARGE.value
    assert without_size(found.message) == (FailureReason.TOO_LARGE.sentence, "")


def test_a_size_is_no_reason_of_another_failure(state: State, caller: Caller, asked: AskedReport) -> None:
    """What was stored of a suspect isn't told where something else failed it, nor of a finished one."""
    made = claim(state)
    oversize.note_suspect(state.db, state.settings, made)
    assert jobs.fail(state.db, made, "inside", state.now)
    assert failure(state, caller, asked).message == FailureReason.NOT_MADE.sentence


def test_what_takes_too_long_says_how_large_it_is(
    state: State, caller: Caller, asked: AskedReport, worker: Worker, tmp_path: Path
) -> None:
    """The time that it had comes first."""
    made = claim(state)
    with QueryEngine("200MB", 1, tmp_path / "other") as engine:
        running = RunningAttempt(made, engine.session(), stop=StopReason.LATE)
        worker._settle_interrupted(running, structlog.get_logger())  # noqa: SLF001 - as the report's thread does
    found, reason = failure(state, caller, asked), FailureReason.TOO_LATE
    assert (found.code, found.advice) == (reason.value, reason.advice)
    seconds = f"{state.settings.generation_seconds:,}"
    assert without_size(found.message) == (f"It was not made in {seconds} seconds.", "")


def test_how_many_times_the_memory_is_said_where_it_is_much(state: State, asked: AskedReport) -> None:
    """By the memory of a worker."""
    made = claim(state)
    assert made.report_id == asked.id
    told = oversize.describe_too_large(replace(state.settings, worker_memory="8KB"), made)
    _, need = without_size(str(told))
    assert re.fullmatch(r", which need about \d times the memory of the platform's limit", need)


def test_a_size_that_can_not_be_found_is_left_out(state: State, asked: AskedReport) -> None:
    """Files that are gone, or a report without dimensions: nothing is raised."""
    made = claim(state)
    assert made.report_id == asked.id
    assert oversize.describe_too_large(state.settings, replace(made, query=replace(QUERY, dimensions=()))) is None
    assert oversize.describe_too_large(replace(state.settings, data=state.settings.data / "none"), made) is None
