"""Flows side by side: what comes of them, and that an interrupt, a defect or a cancellation stops them all."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar

import pytest
from tests.patience import child, end_of, run_child

from reelport import AsyncClient, Client, UsageError
from reelport.client.steps import Flow, Wait, fork, work

HOURS = 4 * 3600.0
Driven = Callable[[Flow[object]], object]


def driven(flow: Flow[object]) -> object:
    """What a flow comes to under the blocking client."""
    with Client("http://127.0.0.1:9", "key", "secret") as client:
        return client._run(flow)  # noqa: SLF001 - the driver is what is tested


def driven_async(flow: Flow[object]) -> object:
    """What a flow comes to under the asyncio client."""

    async def go() -> object:
        async with AsyncClient("http://127.0.0.1:9", "key", "secret") as client:
            return await client._run(flow)  # noqa: SLF001 - the driver is what is tested

    return asyncio.run(go())


both = pytest.mark.parametrize("drive", [driven, driven_async])


def waits(seconds: float, result: object, closed: list[object] | None = None) -> Flow[object]:
    """A flow that waits and gives the result; notes it in `closed` when it is let go of."""
    try:
        yield Wait(seconds)
        return result
    finally:
        if closed is not None:
            closed.append(result)


def refuses() -> Flow[object]:
    """A flow that ends in an error of ours."""
    yield Wait(0)
    raise UsageError("no")


def breaks() -> Flow[object]:
    """A flow with a defect."""
    yield Wait(0.05)
    raise ZeroDivisionError


def breaks_once(begun: threading.Event) -> Flow[object]:
    """The same, once another flow has begun: one that has not is never closed."""
    yield from work(begun.wait)
    return (yield from breaks())


@both
def test_each_flow_comes_to_its_result_or_its_error(drive: Driven) -> None:
    """Results and errors stand in the order of the flows, however many run at once."""
    flows = [waits(0.02, "first"), refuses(), waits(0, "third")]
    came_to = drive(fork(flows, 2))
    assert isinstance(came_to, list)
    assert [str(each) for each in came_to] == ["first", "no", "third"]
    assert isinstance(came_to[1], UsageError)
    assert drive(fork([], 2)) == []


@both
def test_flows_run_in_the_context_of_their_caller(drive: Driven) -> None:
    """What a library keeps in context variables, such as the caller's trace, is there beside others too."""
    trace: ContextVar[str] = ContextVar("trace", default="none")

    def tells() -> Flow[object]:
        yield Wait(0)
        return (yield from work(trace.get))

    trace.set("the caller's")
    assert drive(fork([tells(), fork([tells(), tells()], 2)], 2)) == ["the caller's", ["the caller's", "the caller's"]]


@both
def test_no_more_run_at_once_than_may(drive: Driven) -> None:
    """Of five flows two are under way at the most."""
    now, most, lock = 0, 0, threading.Lock()

    def count(change: int) -> None:
        nonlocal now, most
        with lock:
            now += change
            most = max(most, now)

    def counted() -> Flow[object]:
        yield from work(lambda: count(1))
        yield Wait(0.02)
        yield from work(lambda: count(-1))
        return None

    drive(fork([counted() for _ in range(5)], 2))
    assert (now, most) == (0, 2)


@both
def test_a_defect_in_one_flow_stops_the_others_at_once(drive: Driven) -> None:
    """What no flow should raise is raised, and a flow that would wait for hours is closed."""
    closed: list[object] = []
    begun = threading.Event()

    def long() -> Flow[object]:
        begun.set()
        return (yield from waits(HOURS, "long", closed))

    with pytest.raises(ZeroDivisionError):
        drive(fork([long(), breaks_once(begun)], 2))
    assert closed == ["long"]


@both
def test_a_defect_says_which_flow_asked_for_the_fork(drive: Driven) -> None:
    """Its traceback shows the flow that is broken, and passes by the one that ran it beside others."""

    def asks() -> Flow[object]:
        return (yield from fork([breaks()], 1))

    with pytest.raises(ZeroDivisionError) as caught:
        drive(asks())
    assert ", in asks" in "\n".join(caught.value.__notes__)


def test_forks_within_forks_stop_together() -> None:
    """A defect deep inside wakes a flow that waits in another branch."""
    closed: list[object] = []
    begun = threading.Event()

    def deep() -> Flow[object]:
        begun.set()
        return (yield from waits(HOURS, "deep", closed))

    with pytest.raises(ZeroDivisionError):
        driven(fork([fork([deep(), waits(0, "done")], 2), fork([breaks_once(begun)], 2)], 2))
    assert closed == ["deep"]


def test_cancelling_stops_all_flows_and_waits_for_none() -> None:
    """A cancelled fork closes each of its flows before it is over."""
    begun = {1: asyncio.Event(), 2: asyncio.Event()}
    closed: list[object] = []

    def waiting(number: int) -> Flow[object]:
        begun[number].set()
        return (yield from waits(HOURS, number, closed))

    async def go() -> None:
        async with AsyncClient("http://127.0.0.1:9", "key", "secret") as client:
            running = asyncio.create_task(client._run(fork([waiting(1), waiting(2)], 2)))  # noqa: SLF001 - as above
            for each in begun.values():
                await each.wait()
            running.cancel()
            await running

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(go())
    assert sorted(map(str, closed)) == ["1", "2"]


def test_cancelling_waits_for_what_a_thread_is_doing() -> None:
    """Work that has begun is done before the flow is closed: it may hold what is closed then."""
    order: list[str] = []
    begun = threading.Event()

    def slow() -> None:
        begun.set()
        time.sleep(0.2)
        order.append("worked")

    def flow() -> Flow[object]:
        try:
            yield from work(slow)
        finally:
            order.append("closed")
        return None

    async def go() -> None:
        async with AsyncClient("http://127.0.0.1:9", "key", "secret") as client:
            running = asyncio.create_task(client._run(flow()))  # noqa: SLF001 - as above
            await asyncio.to_thread(begun.wait)
            running.cancel()
            await running

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(go())
    assert order == ["worked", "closed"]


@pytest.mark.parametrize("more", [0, 1])
def test_a_cancelled_flow_hears_of_the_work_that_was_done(more: int) -> None:
    """What a thread did while the flow was cancelled is known to it, be there another step or not; then it is over."""
    heard: list[str] = []
    begun = threading.Event()

    def slow() -> str:
        begun.set()
        time.sleep(0.2)
        return "a row that is ours now"

    def flow() -> Flow[None]:
        heard.append((yield from work(slow)))
        for _ in range(more):
            yield Wait(HOURS)

    async def go() -> None:
        async with AsyncClient("http://127.0.0.1:9", "key", "secret") as client:
            running = asyncio.create_task(client._run(flow()))  # noqa: SLF001 - as above
            await asyncio.to_thread(begun.wait)
            running.cancel()
            await asyncio.sleep(0)
            running.cancel()  # Whoever is impatient cancels twice.
            await running

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(go())
    assert heard == ["a row that is ours now"]


def test_a_second_ctrl_c_leaves_what_other_threads_are_doing() -> None:
    """Who is interrupted twice waits for no work of a thread, either."""
    program = """
def endless():
    while True:
        interrupt()
        time.sleep(0.1)

def waits():
    yield Wait(14400)
"""
    assert interrupted(program, "fork([work(endless), waits()], 2)") == "interrupted []\n"


@pytest.mark.parametrize("more", [0, 1])
def test_a_flow_hears_of_the_work_that_a_ctrl_c_came_into(more: int) -> None:
    """What was written down is known to the flow, and only then it is interrupted, be there another step or not."""
    program = """
def slow():
    interrupt()
    time.sleep(0.1)
    return "a row that is ours now"

def flow():
    heard.append((yield from work(slow)))
    for _ in range(int(sys.argv[1])):
        yield Wait(14400)
"""
    assert interrupted(program, "flow()", str(more)) == "interrupted ['a row that is ours now']\n"


def test_a_ctrl_c_waits_for_what_other_threads_are_doing() -> None:
    """The end of the process would tear it in two, however long it takes; who only waits is woken.

    So does what a flow writes down when it is closed, as the token of a report that was just asked for.
    """
    program = """
def slow():
    time.sleep(0.2)  # so that it comes while this thread is waited for
    interrupt()
    time.sleep(2.2)  # more than threads get that hang in the network
    heard.append("whole")

def waits():
    try:
        yield Wait(14400)
    finally:
        time.sleep(2.6)
        heard.append("closed")
"""
    said = interrupted(program, "fork([work(slow), waits()], 2)")
    assert said in {"interrupted ['whole', 'closed']\n", "interrupted ['closed', 'whole']\n"}


def test_a_second_ctrl_c_waits_for_no_work() -> None:
    """Who is interrupted twice is gone at once."""
    program = """
def endless():
    while True:
        interrupt()
        time.sleep(0.1)
"""
    assert interrupted(program, "work(endless)") == "interrupted []\n"


_INTERRUPTED = """
import os, signal, sys, threading, time
from reelport import Client
from reelport.client.steps import Wait, fork, work

heard = []

def interrupt():
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
{program}
try:
    print("ready", flush=True)
    with Client("http://127.0.0.1:9", "key", "secret") as client:
        client._run({flow})
except KeyboardInterrupt:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print("interrupted", heard, flush=True)
    os._exit(0)  # without a wait for what a thread still does
"""


def interrupted(program: str, flow: str, *words: str) -> str:
    """What a process says that drives a flow of that program, in which `interrupt()` is a Ctrl-C."""
    return run_child(_INTERRUPTED.format(program=program, flow=flow), *words)


_PROGRAM = """
import socket, sys, threading
from reelport import Client
from reelport.client.steps import Open, Request, Wait, fork

silent = socket.create_server(("127.0.0.1", 0))
waiting = threading.Event()

def waits():
    try:
        waiting.set()
        yield Wait(14400)
    finally:
        print("closed", flush=True)

def hangs():
    waiting.wait()
    print("ready", flush=True)
    yield Open(Request("GET", f"http://127.0.0.1:{silent.getsockname()[1]}/"))

with Client("http://127.0.0.1:9", "key", "secret") as client:
    client._run(fork([waits(), hangs()], 2))
"""


def test_ctrl_c_ends_a_program_whose_flows_wait_and_hang() -> None:
    """One interrupt: a flow that waits is closed, one that hangs in the network is left, and the process ends."""
    with child(_PROGRAM) as process:
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, said, wrong = end_of(process)
    assert said == "closed\n"
    assert wrong.rstrip().endswith("KeyboardInterrupt")
