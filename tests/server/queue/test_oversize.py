"""Reports beside others: short ones wait for no long one, and what is too large is told with what makes it so."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import structlog
from sqlalchemy import text
from tests.fact_rows import make_play
from tests.patience import PATIENCE, until
from tests.server.conftest import State
from tests.server.queue.running import running_worker

from reelport.engine.duckdb.engine import QueryEngine
from reelport.engine.plan import Plan, single_piece
from reelport.facts.loading.load import load_arrow
from reelport.query import ReportQuery
from reelport.report_details import Failure, FailureReason
from reelport.server.access.callers import Caller
from reelport.server.access.roles import Reach
from reelport.server.events import Kind, subscribe
from reelport.server.files.report_files import FileRecord
from reelport.server.queue import attempt, backlog, deaths, jobs, oversize
from reelport.server.queue.jobs import Claim
from reelport.server.queue.lease_keeper import LeaseKeeper, RunningAttempt, StopReason
from reelport.server.queue.worker import Worker
from reelport.server.reports import report_access, report_list
from reelport.server.reports.ask import ask_report
from reelport.server.reports.report_access import FoundReport
from reelport.wire import ReportStatus

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
        make_play(f"2026-01-{day:02}T05:00:00", video_id=f"v{number}", visitor_country="FR")
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
def asked(state: State, caller: Caller) -> FoundReport:
    """A report of all of them."""
    return ask_report(state.db, state.settings, caller, QUERY, state.now)


@pytest.fixture
def worker(state: State, tmp_path: Path) -> Iterator[Worker]:
    """A worker whose engine has too little memory for any report."""
    with QueryEngine("2MB", 1, tmp_path / "spill") as engine, subscribe(state.db, Kind.REPORT_QUEUED) as events:
        yield Worker(state.again(worker_memory="2MB"), state.db, engine, "one", events)


def failure(state: State, caller: Caller, asked: FoundReport) -> Failure:
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
    state: State, caller: Caller, asked: FoundReport, worker: Worker
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


def test_what_kills_its_worker_says_how_large_it_is(state: State, caller: Caller, asked: FoundReport) -> None:
    """It is measured before an isolated worker makes it: afterwards nobody is left who could."""
    for suspect in (False, True, True):
        made = claim(state, suspect=suspect)
        if suspect:
            oversize.note_suspect(state.db, state.settings, made)
        deaths.record_death(state.db, "one", "was killed by SIGKILL", limit=3, now=state.now)
    found = failure(state, caller, asked)
    assert found.code == FailureReason.TOO_LARGE.value
    assert without_size(found.message) == (FailureReason.TOO_LARGE.sentence, "")


def test_a_size_is_no_reason_of_another_failure(state: State, caller: Caller, asked: FoundReport) -> None:
    """What was stored of a suspect isn't told where something else failed it, nor of a finished one."""
    made = claim(state)
    oversize.note_suspect(state.db, state.settings, made)
    assert jobs.fail(state.db, made, "inside", state.now)
    assert failure(state, caller, asked).message == FailureReason.NOT_MADE.sentence


def test_what_takes_too_long_says_how_large_it_is(
    state: State, caller: Caller, asked: FoundReport, worker: Worker, tmp_path: Path
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


def test_how_many_times_the_memory_is_said_where_it_is_much(state: State, asked: FoundReport) -> None:
    """By the memory of a worker."""
    made = claim(state)
    assert made.report_id == asked.id
    told = oversize.describe_too_large(replace(state.settings, worker_memory="8KB"), made)
    _, need = without_size(str(told))
    assert re.fullmatch(r", which need about \d times the memory of the platform's limit", need)


def test_a_size_that_can_not_be_found_is_left_out(state: State, asked: FoundReport) -> None:
    """Files that are gone, or a report without dimensions: nothing is raised."""
    made = claim(state)
    assert made.report_id == asked.id
    assert oversize.describe_too_large(state.settings, replace(made, query=replace(QUERY, dimensions=()))) is None
    assert oversize.describe_too_large(replace(state.settings, data=state.settings.data / "none"), made) is None


ENDLESS = Plan("SELECT hash(i) AS n FROM range(1000000000000) t(i) WHERE hash(i) = 1", ("n",))
"""A report that takes hours."""
_LONG = 10
"""From this day on a report is endless."""


@pytest.mark.long
@pytest.mark.usefixtures("working")
def test_a_short_report_waits_for_no_long_one(state: State) -> None:
    """With every slot held by a long report it is made beside it, and another one after it."""
    long = ask(state, _LONG)
    assert until(lambda: attempts(state, long) == 1)
    for day in (1, 2):
        short = ask(state, day)
        assert until(lambda short=short: status(state, short) is ReportStatus.FINISHED)  # type: ignore[misc]
    assert (status(state, long), attempts(state, long)) == (ReportStatus.IN_PROGRESS, 1)


@pytest.mark.long
@pytest.mark.usefixtures("working")
def test_a_report_that_is_too_long_for_it_waits_for_another_slot(state: State) -> None:
    """Nothing is counted against it, short ones pass it, and it is taken up again when a slot is free."""
    first = ask(state, _LONG)
    assert until(lambda: attempts(state, first) == 1)
    second = ask(state, _LONG + 1)
    assert until(lambda: attempts(state, second) == 1)
    assert until(lambda: not is_claimed(state, second))
    short = ask(state, 1)
    assert until(lambda: status(state, short) is ReportStatus.FINISHED)
    found = backlog.get_entry(state.db, second)
    assert (found.attempts, found.failures, found.deaths, found.losses) == (1, 0, 0, 0)
    assert attempts(state, first) == 1
    backlog.cancel(state.db, first, state.now)
    assert until(lambda: attempts(state, second) == 2)
    third = ask(state, _LONG + 2)
    assert until(lambda: attempts(state, third) == 1 and not is_claimed(state, third))
    assert is_claimed(state, second)


def test_a_slot_that_is_free_takes_over_what_the_express_slot_makes(state: State, tmp_path: Path) -> None:
    """Then it has all the time of a report."""
    organization(state, "demo")
    with QueryEngine("200MB", 1, tmp_path / "spill") as engine, subscribe(state.db, Kind.REPORT_QUEUED) as events:
        worker = Worker(state.again(slots=1), state.db, engine, "one", events)
        running = [running_attempt(state, engine, day, is_express=day == 2) for day in (1, 2)]
        worker._running.update(running)  # noqa: SLF001 - as the claiming thread does
        worker._promote_express()  # noqa: SLF001
        assert running[1].is_express
        worker._running.discard(running[0])  # noqa: SLF001
        worker._promote_express()  # noqa: SLF001
        assert not running[1].is_express


@pytest.mark.parametrize(("is_express", "stop"), [(True, StopReason.LONG), (False, None)])
def test_only_the_express_slot_has_so_little_time(
    state: State, tmp_path: Path, is_express: bool, stop: StopReason | None
) -> None:
    """Beyond it a report is interrupted there."""
    organization(state, "demo")
    with QueryEngine("200MB", 1, tmp_path / "spill") as engine:
        running = running_attempt(state, engine, 1, is_express=is_express)
        keeper = LeaseKeeper(state.settings, state.db, running=lambda: (running,), express_seconds=5000)
        running.started_at = time.monotonic() - 4000
        keeper.tick()
        assert running.stop is None
        running.started_at = time.monotonic() - 6000
        keeper.tick()
        assert running.stop is stop


@pytest.mark.long
@pytest.mark.parametrize(
    ("changed", "seconds", "is_open"),
    [({}, 3000, True), ({}, 1000, False), ({"slots": 2}, 3000, False)],
)
def test_the_express_slot_is_open_while_every_slot_is_held_for_long(
    state: State, tmp_path: Path, changed: dict[str, Any], seconds: float, is_open: bool
) -> None:
    """A burst of short reports opens none."""
    organization(state, "demo")
    settings = state.again(**{"slots": 1} | changed)
    with QueryEngine("200MB", 1, tmp_path / "spill") as engine, subscribe(state.db, Kind.REPORT_QUEUED) as events:
        worker = Worker(settings, state.db, engine, "one", events, express_seconds=2000)
        running = running_attempt(state, engine, 1)
        running.started_at -= seconds
        worker._running.add(running)  # noqa: SLF001 - as the claiming thread does
        assert worker._is_express_open() is is_open  # noqa: SLF001


@pytest.mark.long
@pytest.mark.parametrize(("reports", "seconds", "is_spent"), [(6, 3000, False), (5, 1000, True), (5, 3000, False)])
def test_a_worker_that_has_made_enough_interrupts_no_long_report(
    state: State, tmp_path: Path, reports: int, seconds: float, is_spent: bool
) -> None:
    """It would begin anew each time, and never end where others keep its worker busy."""
    organization(state, "demo")
    with QueryEngine("200MB", 1, tmp_path / "spill") as engine, subscribe(state.db, Kind.REPORT_QUEUED) as events:
        worker = Worker(state.settings, state.db, engine, "one", events, reports=reports, express_seconds=2000)
        running = running_attempt(state, engine, 1)
        running.started_at -= seconds
        worker._running.add(running)  # noqa: SLF001 - as the claiming thread does
        worker._made = 10  # noqa: SLF001
        assert worker._is_spent() is is_spent  # noqa: SLF001


@pytest.fixture
def working(state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A worker of one slot and an express slot, for which reports of some days take hours."""
    organization(state, *"abcdefgh")
    settings = state.again(slots=1, drain_seconds=0)
    make, slot_seconds = attempt.make_report, PATIENCE

    def make_or_last(db: Any, settings: Any, claim: jobs.Claim, session: Any, *rest: Any) -> FileRecord:  # noqa: ANN401
        if claim.query.start.day >= _LONG:
            (own,) = (each for each in made._running if each.claim == claim)  # noqa: SLF001 - it takes longer at once
            own.started_at -= slot_seconds
            session.write(single_piece(ENDLESS), tmp_path / f"{claim.report_id}-{claim.attempt}.csv")
        return make(db, settings, claim, session, *rest)

    monkeypatch.setattr(attempt, "make_report", make_or_last)
    with (
        QueryEngine("200MB", 1, tmp_path / "spill") as engine,
        subscribe(state.db, Kind.REPORT_QUEUED) as events,
        running_worker(made := Worker(settings, state.db, engine, "w", events, express_seconds=slot_seconds)),
    ):
        yield


def organization(state: State, *names: str) -> None:
    """Organizations of today, whose reports no sweep ends."""
    state.now = datetime.now(UTC)
    for name in names:
        state.organization(name, name)


def ask(state: State, day: int) -> str:
    """Ask as an organization that hasn't asked yet; the report's id."""
    with state.db.connect() as connection:
        busy = set(connection.execute(text("SELECT DISTINCT organization_id FROM reports")).scalars())
        free = connection.execute(text("SELECT id, name FROM organizations ORDER BY id")).all()
    name = next(row.name for row in free if row.id not in busy)
    return state.ask(state.caller(state.key(name)), day).id


def running_attempt(state: State, engine: QueryEngine, day: int, *, is_express: bool = False) -> RunningAttempt:
    state.ask(state.caller(state.key("demo")), day)
    claim = jobs.claim(state.db, "one", running=9, lease_seconds=30)
    assert claim is not None
    return RunningAttempt(claim, engine.session(), is_express)


def status(state: State, report: str) -> ReportStatus:
    with state.db.connect() as connection:
        return ReportStatus[
            connection.execute(text("SELECT status FROM reports WHERE id = :id"), {"id": report}).scalar_one()
        ]


def attempts(state: State, report: str) -> int:
    return backlog.get_entry(state.db, report).attempts


def is_claimed(state: State, report: str) -> bool:
    with state.db.connect() as connection:
        found = connection.execute(text("SELECT owner FROM jobs WHERE report_id = :id"), {"id": report})
        return found.scalar_one() is not None
