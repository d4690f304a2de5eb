"""Held looks over both databases: the end of a report is seen there, and heard of by a bell."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import anyio
import anyio.to_thread
from tests.patience import PATIENCE

from reelport.server.files.report_files import FileRecord
from reelport.server.http.long_poll import LongPolls, PollOutcome
from reelport.server.queue import jobs, wakeups
from reelport.server.queue.wakeups import Occasion, Wakeup

from .conftest import State

HOUR = 3600.0
FILE = FileRecord("x.csv", 1, 2, "ab")


def asked(state: State) -> str:
    """The public name of a report that waits."""
    state.organization("demo", "c")
    return state.ask(state.caller(state.key("demo"))).id


def finish(state: State) -> None:
    """Be the worker of the oldest report."""
    claim = jobs.claim(state.db, "worker", running=9, lease_seconds=60)
    assert claim is not None
    assert jobs.finish(state.db, claim, FILE, state.now)


async def _wait(state: State, report: str, seconds: float, meanwhile: Callable[[], None]) -> PollOutcome:
    held = LongPolls(state.db, state.settings)
    ends = []
    async with held.watch_reports(), anyio.create_task_group() as tasks:

        async def wait() -> None:
            ends.append(await held.wait(1, frozenset({report}), seconds))

        tasks.start_soon(wait)
        await anyio.sleep(0.2)
        await anyio.to_thread.run_sync(meanwhile)
    (end,) = ends
    return end


def wait(state: State, report: str, seconds: float, meanwhile: Callable[[], None]) -> PollOutcome:
    """How a held look ended while something was done."""
    return anyio.run(_wait, state, report, seconds, meanwhile)


def test_the_end_of_a_report_is_seen_without_a_bell(state: State) -> None:
    """By the state alone, and not only when an hour is over."""
    assert wait(state, asked(state), HOUR, partial(finish, state)) is PollOutcome.CHANGED


def test_a_report_that_goes_on_is_waited_for_to_the_end_of_the_time(state: State) -> None:
    """A bell for another's report changes nothing."""
    assert wait(state, asked(state), 0.5, partial(wakeups.notify, state.settings, Occasion.ENDED)) is PollOutcome.OVER


def test_what_had_ended_before_it_was_held_is_seen_at_once(state: State) -> None:
    """Between the look that saw it unfinished and its being held."""
    report = asked(state)
    finish(state)
    assert wait(state, report, HOUR, lambda: None) is PollOutcome.CHANGED


def test_one_partner_takes_no_more_than_its_share(state: State) -> None:
    """What is beyond it is answered at once; another partner has the rest, and one without any has one beyond all."""

    async def run() -> None:
        held = LongPolls(state.db, replace(state.settings, held_looks=5, partner_held_looks=3))
        report = frozenset({asked(state)})
        async with held.watch_reports(), anyio.create_task_group() as tasks:
            for partner in (1, 1, 1, 2, 2, 3):
                tasks.start_soon(held.wait, partner, report, HOUR)
                await anyio.wait_all_tasks_blocked()
            assert len(held) == 6
            assert [await held.wait(partner, report, 0) for partner in (1, 2, 3)] == [PollOutcome.FULL] * 3
            assert await held.wait(4, report, 0) is PollOutcome.OVER
            held.stop()

    anyio.run(run)


def test_bells_that_killed_services_left_are_taken_down(state: State) -> None:
    """Those of the living stay, and ring."""
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
