"""Long polling over both databases: a waiting query sees the end of a report by polling or by a wake-up."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import anyio
import anyio.to_thread
from tests.patience import PATIENCE
from tests.server.conftest import State

from reelport.server.files.report_files import FileRecord
from reelport.server.http.long_poll import LongPolls, PollOutcome
from reelport.server.queue import jobs, wakeups
from reelport.server.queue.wakeups import Occasion, Wakeup

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
    polls = LongPolls(state.db, state.settings)
    ends = []
    async with polls.watch_reports(), anyio.create_task_group() as tasks:

        async def wait() -> None:
            ends.append(await polls.wait(1, frozenset({report}), seconds))

        tasks.start_soon(wait)
        await anyio.sleep(0.2)
        await anyio.to_thread.run_sync(meanwhile)
    (end,) = ends
    return end


def wait(state: State, report: str, seconds: float, meanwhile: Callable[[], None]) -> PollOutcome:
    """How a long poll ends when `meanwhile` runs during it."""
    return anyio.run(_wait, state, report, seconds, meanwhile)


def test_the_end_of_a_report_is_seen_without_a_wakeup(state: State) -> None:
    """Polling the state finds it, long before the hour is over."""
    assert wait(state, asked(state), HOUR, partial(finish, state)) is PollOutcome.CHANGED


def test_a_report_that_goes_on_is_waited_for_to_the_end_of_the_time(state: State) -> None:
    """A wake-up for another report changes nothing."""
    assert wait(state, asked(state), 0.5, partial(wakeups.notify, state.settings, Occasion.ENDED)) is PollOutcome.OVER


def test_a_report_that_ended_before_the_poll_began_is_seen_at_once(state: State) -> None:
    """It ended between the query that saw it unfinished and the long poll."""
    report = asked(state)
    finish(state)
    assert wait(state, report, HOUR, lambda: None) is PollOutcome.CHANGED


def test_one_partner_takes_no_more_than_its_share(state: State) -> None:
    """A poll beyond it is answered at once; another partner has the rest, and one without polls has one beyond all."""

    async def run() -> None:
        polls = LongPolls(state.db, replace(state.settings, held_looks=5, partner_held_looks=3))
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


def test_wakeup_pipes_that_killed_services_left_are_removed(state: State) -> None:
    """Those of living services stay, and receive wake-ups."""
    folder = state.settings.workers_root
    folder.mkdir(parents=True)
    os.mkfifo(folder / f"dead{Occasion.ENDED}")
    with (
        wakeups.open_wakeup(state.settings, "one", Occasion.ENDED) as one,
        wakeups.open_wakeup(state.settings, "two", Occasion.ENDED),
    ):
        assert {path.name for path in folder.iterdir()} == {"one.ended", "two.ended"}
        with Wakeup(state.settings, "worker") as other:
            wakeups.notify(state.settings, Occasion.ENDED)
            assert one.wait(PATIENCE)
            assert not other.wait(0)
    assert not list(folder.iterdir())
