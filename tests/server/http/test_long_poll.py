"""Long polling over both databases: a waiting query hears of the end of a report, and finds it without an event too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import anyio
import anyio.to_thread
import pytest
from tests.patience import until
from tests.server.conftest import State

from reelport.server.events.bus import Event, Kind, publish
from reelport.server.files.report_files import FileRecord
from reelport.server.http.long_poll import DurableReports, LongPolls, PollOutcome
from reelport.server.queue import jobs
from reelport.server.state.database import writing
from reelport.server.state.reads import Reads
from reelport.server.state.tables import JOBS

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
    polls = LongPolls(state.db, Reads(state.db, state.settings), state.settings, DurableReports(state.db))
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


def test_a_report_that_ended_before_the_poll_began_is_seen_at_once(state: State) -> None:
    """It ended between the query that saw it unfinished and the long poll."""
    report = asked(state)
    finish(state)
    assert wait(state, report, HOUR, lambda: None) is PollOutcome.CHANGED


def test_one_partner_takes_no_more_than_its_share(state: State) -> None:
    """A poll beyond it is answered at once; another partner has the rest, and one without polls has one beyond all."""

    async def run() -> None:
        settings = replace(state.settings, held_looks=5)
        polls = LongPolls(state.db, Reads(state.db, settings), settings, DurableReports(state.db))
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
