"""What is left in a bucket, and the few turns that each caller has at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable

import anyio
import anyio.lowlevel
import pytest

from reelport.server.limits.concurrency import Concurrency
from reelport.server.limits.rate_limits import TokenBuckets


def test_what_is_left_in_a_bucket_is_told_with_the_time_in_which_no_more_comes() -> None:
    """Two a second, ten at once: what comes back in between counts once it is whole."""
    now = 0.0
    buckets = TokenBuckets(120, 10, lambda: now)
    assert buckets.measure("policy", b"owner").left is None
    for _ in range(10):
        buckets.take(b"owner")
    empty = buckets.measure("policy", b"owner")
    assert (empty.quota, empty.window, empty.left, empty.reset) == (10, 5, 0, 1)
    now = 1.75
    assert buckets.measure("policy", b"owner").left == 3
    now = 60.0
    assert buckets.measure("policy", b"owner").left == 10


def run(work: Callable[[Concurrency], Awaitable[None]], turns: int) -> None:
    """Do work with so many turns for each caller."""

    async def main() -> None:
        with anyio.fail_after(60):
            await work(Concurrency(turns))

    anyio.run(main)


async def hold(concurrency: Concurrency, caller: Hashable, events: list[str], name: str) -> None:
    """Take a turn, and say so; and whether it had to be waited for."""
    async with concurrency.turn(caller) as waited:
        events.append(f"{name} {'waited' if waited else 'free'}")
        await anyio.lowlevel.checkpoint()


def test_a_free_turn_takes_no_round_of_the_event_loop() -> None:
    """Else every other request would come first, at each turn."""

    async def work(concurrency: Concurrency) -> None:
        events: list[str] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold, concurrency, "other", events, "next")
            async with concurrency.turn("caller") as waited:
                events.append("mine")
            assert (waited, events) == (False, ["mine"])
        assert events == ["mine", "next free"]

    run(work, 1)


def test_of_one_caller_who_comes_first_is_first() -> None:
    """Another caller doesn't wait meanwhile, and who comes late doesn't pass those that wait."""

    async def work(concurrency: Concurrency) -> None:
        events: list[str] = []
        async with anyio.create_task_group() as tasks:
            async with concurrency.turn("caller"):
                for name in ("first", "second"):
                    tasks.start_soon(hold, concurrency, "caller", events, name)
                await anyio.wait_all_tasks_blocked()
                await hold(concurrency, "other", events, "other")
            await hold(concurrency, "caller", events, "late")
        assert events == ["other free", "first waited", "second waited", "late waited"]

    run(work, 1)


def test_a_turn_whose_work_fails_or_is_cancelled_is_given_back() -> None:
    """Nothing keeps it."""

    async def work(concurrency: Concurrency) -> None:
        with pytest.raises(ZeroDivisionError):
            async with concurrency.turn("caller"):
                raise ZeroDivisionError
        with anyio.CancelScope() as scope:
            async with concurrency.turn("caller"):
                scope.cancel()
                await anyio.sleep_forever()
        async with concurrency.turn("caller") as waited:
            assert not waited

    run(work, 1)


def test_who_is_cancelled_while_waiting_takes_no_turn() -> None:
    """The next one gets it."""

    async def work(concurrency: Concurrency) -> None:
        events: list[str] = []
        async with anyio.create_task_group() as tasks, concurrency.turn("caller"):
            with anyio.CancelScope() as scope:
                scope.cancel()
                await hold(concurrency, "caller", events, "cancelled")
            tasks.start_soon(hold, concurrency, "caller", events, "next")
            await anyio.wait_all_tasks_blocked()
        assert events == ["next waited"]

    run(work, 1)


def test_what_is_left_of_the_turns_is_told() -> None:
    """A caller that has none now has all of them."""

    async def work(concurrency: Concurrency) -> None:
        async with concurrency.turn("caller"), concurrency.turn("caller"):
            assert concurrency.measure("turns", "caller").left == 1
            assert concurrency.measure("turns", "other").left == 3
        assert concurrency.measure("turns", "caller").left == 3

    run(work, turns=3)
