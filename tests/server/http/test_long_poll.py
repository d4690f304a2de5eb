"""Long polls, and finished reports that answers tell of only once they are on the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
import structlog
from sqlalchemy import Engine
from tests.patience import until
from tests.server.api import Api, open_api
from tests.server.conftest import State
from tests.server.syncs import no_sync

from reelport.errors import StorageError
from reelport.server.access.roles import Reach
from reelport.server.events import Event, Kind, publish
from reelport.server.files.report_files import FileRecord
from reelport.server.http.long_poll import DurableReports, LongPolls, PollOutcome
from reelport.server.queue import backlog, jobs
from reelport.server.reports import report_list
from reelport.server.settings import read_settings
from reelport.server.state.database import writing
from reelport.server.state.tables import JOBS, REPORTS
from reelport.wire import GRAPHQL_PATH, LOOK

HOUR = 3600.0
FILE = FileRecord("x.csv", 1, 2, "ab")


def asked(state: State) -> str:
    """The id of a report that waits."""
    state.organization("demo", "c")
    return state.ask(state.caller(state.key("demo"))).id


def finish(state: State) -> None:
    """Be the worker of the oldest report."""
    claim = jobs.claim(state.db, "worker", running=9, lease_seconds=60)
    assert claim is not None
    assert jobs.finish(state.db, claim, FILE, state.now)


async def _wait(state: State, report: str, seconds: float, meanwhile: Callable[[], None]) -> PollOutcome:
    polls = LongPolls(state.db, DurableReports(state.db))
    ends: list[PollOutcome] = []
    async with polls.watch_reports(), anyio.create_task_group() as tasks:

        async def wait() -> None:
            ends.append(await polls.wait(1, frozenset({report}), seconds))

        tasks.start_soon(wait)
        # It waits, or it has found already that nothing is to be waited for.
        assert await anyio.to_thread.run_sync(until, lambda: len(polls) == 1 or bool(ends))
        await anyio.to_thread.run_sync(meanwhile)
    (end,) = ends
    return end


def wait(state: State, report: str, seconds: float, meanwhile: Callable[[], None]) -> PollOutcome:
    """How a long poll ends when `meanwhile` runs during it."""
    return anyio.run(_wait, state, report, seconds, meanwhile)


def end_unheard(state: State) -> None:
    """Let the report's job go without a word, as when the event of its end is lost."""
    with writing(state.db) as connection:
        connection.execute(JOBS.delete())


def publish_another_end(state: State) -> None:
    """Let the end of some other report be heard."""
    with writing(state.db) as connection:
        publish(connection, Event(Kind.REPORT_ENDED, "another"))


@pytest.mark.parametrize("end", [finish, end_unheard], ids=["heard", "unheard"])
def test_the_end_of_a_report_is_seen(state: State, end: Callable[[State], None]) -> None:
    """By its event, or by reading the state, long before the hour is over."""
    assert wait(state, asked(state), HOUR, partial(end, state)) is PollOutcome.CHANGED


def test_a_report_that_goes_on_is_waited_for_to_the_end_of_the_time(state: State) -> None:
    """The end of another report changes nothing."""
    assert wait(state, asked(state), 0.5, partial(publish_another_end, state)) is PollOutcome.OVER


def test_a_look_that_fails_of_what_nobody_foresaw_ends_no_other_poll(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a thread that can't be started: the next look, or an event, finds the end."""
    find, failed = jobs.find_unfinished, list[object]()

    def fail_once(db: Engine, reports: frozenset[str]) -> frozenset[str]:
        if failed:
            return find(db, reports)
        failed.append(reports)
        raise RuntimeError("can't start new thread")

    report = asked(state)
    monkeypatch.setattr(jobs, "find_unfinished", fail_once)
    with structlog.testing.capture_logs() as logs:
        assert wait(state, report, HOUR, partial(end_unheard, state)) is PollOutcome.CHANGED
    assert [log["log_level"] for log in logs] == ["error"]


def test_a_report_that_ended_before_the_poll_began_is_seen_at_once(state: State) -> None:
    """It ended between the query that saw it unfinished and the long poll."""
    report = asked(state)
    finish(state)
    assert wait(state, report, HOUR, lambda: None) is PollOutcome.CHANGED


def test_one_partner_takes_no_more_than_its_share(state: State) -> None:
    """A poll beyond it is answered at once; another partner has the rest, and one without polls has one beyond all."""

    async def run() -> None:
        polls = LongPolls(state.db, DurableReports(state.db), most=5)
        report = frozenset({asked(state)})
        async with polls.watch_reports(), anyio.create_task_group() as tasks:
            for partner in (1, 1, 1, 2, 2, 3):
                tasks.start_soon(polls.wait, partner, report, HOUR)
                await anyio.wait_all_tasks_blocked()
            assert len(polls) == 6
            assert [await polls.wait(partner, report, 0) for partner in (1, 2, 3)] == [PollOutcome.FULL] * 3
            assert await polls.wait(4, report, 0) is PollOutcome.OVER
            polls.stop()

    anyio.run(run)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    """An app whose state is on a local file system."""
    with open_api(read_settings(data=tmp_path / "data", workers=0)) as api:
        yield api


def look(api: Api, token: str) -> tuple[int, str | None]:
    """How a look at a report is answered, and the status that it tells."""
    reply = api.client.post(
        GRAPHQL_PATH,
        json={"query": LOOK, "variables": {"reportToken": token}},
        headers={"Authorization": f"Bearer {api.token}"},
    )
    found = (reply.json()["data"] or {}).get("partner")
    return reply.status_code, found and found["reportFile"]["status"]


def test_an_end_is_told_once_it_is_on_the_disk(api: Api) -> None:
    """Of one that its worker could not sync, and that nobody heard of, a look is refused until it can be synced."""
    db, settings = api.service.db, api.service.settings
    before, token = api.finished(), api.ask(**api.new())["data"]["askPartnerReportFile"]["reportFile"]["reportToken"]
    assert look(api, before) == (200, "FINISHED")
    with writing(db, synced=False) as connection:
        connection.execute(JOBS.delete())
        made = {"file": "x.csv", "rows": 1, "bytes": 2, "sha256": "ab", "ended_at": api.service_now()}
        connection.execute(REPORTS.update().where(REPORTS.c.token == token).values(status="FINISHED", **made))
    with no_sync(settings):
        assert look(api, token) == (503, None)
        assert look(api, before) == (200, "FINISHED")
    assert look(api, token) == (200, "FINISHED")
    with no_sync(settings):
        assert look(api, token) == (200, "FINISHED")


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_pages_of_reports_tell_what_is_on_the_disk(state: State) -> None:
    """A person's look at them is rare: each syncs."""
    organization = state.organization("demo", "c1")
    report = state.ask(state.caller(state.key("demo")))
    given = (state.db, Reach(organization))
    with no_sync(state.settings):
        for read in (
            lambda: report_list.list_reports(*given, state.now),
            lambda: report_list.find_listed_report(*given, report.id, state.now),
            lambda: report_list.count_by_filter(state.db, Reach(organization), state.now),
            lambda: backlog.list_entries(state.db),
            lambda: backlog.get_entry(state.db, report.id),
        ):
            with pytest.raises(StorageError, match="wal"):
                read()


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_the_ends_that_were_heard_of_last_are_remembered(state: State) -> None:
    """Looks at these cost no sync; which reports are remembered is limited."""
    state.organization("demo", "c1")
    durable = DurableReports(state.db)
    durable.note(f"r{number}" for number in range(10_001))
    with no_sync(state.settings):
        anyio.run(durable.ensure, frozenset({"r1", "r10000"}))
        with pytest.raises(StorageError, match="wal"):
            anyio.run(durable.ensure, frozenset({"r0"}))
    anyio.run(durable.ensure, frozenset({"r0"}))
    with no_sync(state.settings):
        anyio.run(durable.ensure, frozenset({"r0"}))
