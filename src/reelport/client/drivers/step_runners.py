"""Step runners: execute a flow's steps, blocking or on asyncio; several flows side by side.

Threads are daemons: a stop wakes those that wait, lets work end that has begun, and leaves behind one that hangs in
the network, so that it keeps no interpreter alive.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from contextlib import contextmanager
from contextvars import copy_context

from reelport.client.steps import (
    AsyncBody,
    AsyncRunner,
    AsyncSleep,
    AsyncTransport,
    Body,
    Flow,
    Fork,
    Lost,
    Open,
    Read,
    Sleep,
    Step,
    Transport,
    Wait,
    Work,
)
from reelport.errors import ReelportError

_LOOK = 1.0  # seconds between two checks for a Ctrl-C, where waiting hides it
_GRACE = 2.0  # seconds that threads get to clean up when all must stop


class _Stoppable:
    """Remembers a stop that came while work had to come to its end."""

    _stop: BaseException | None = None

    def check(self) -> None:
        """Raise the Ctrl-C or the cancellation that came during work."""
        if self._stop is not None:
            raise self._stop

    def _remember_stop(self, stop: BaseException) -> None:
        self._stop = stop


class StepRunner(_Stoppable):
    """Executes the steps of one flow, blocking; holds its open response body."""

    def __init__(self, transport: Transport, sleep: Sleep, drive: Drive, halt: Halt) -> None:
        self._transport = transport
        self._sleep = sleep
        self._drive = drive
        self._halt = halt
        self._body: Body | None = None

    def execute(self, step: Step) -> object:
        """Execute a step; return its outcome. Begun work ends before a Ctrl-C is raised."""
        self.check()
        self._halt.check()
        match step:
            case Wait(seconds):
                self._halt.pause(seconds, self._sleep)
                return None
            case Work(task):
                with self._halt.working():
                    return _run_shielded(task, self._remember_stop)
            case Fork(flows, at_once):
                return _run_in_threads(self._drive, flows, at_once, self._halt)
            case Open(request):
                self.close()
                body = self._transport.open(request)
                self._body = None if isinstance(body, Lost) else body
                return body if isinstance(body, Lost) else body.head
            case Read():
                return self._body.read() if self._body else b""

    def close(self) -> None:
        """Close the open body."""
        if self._body is not None:
            self._body.close()


class AsyncStepRunner(_Stoppable):
    """Executes the steps of one flow on asyncio; holds its open response body."""

    def __init__(self, transport: AsyncTransport, sleep: AsyncSleep, run: AsyncRunner) -> None:
        self._transport = transport
        self._sleep = sleep
        self._run = run
        self._body: AsyncBody | None = None

    async def execute(self, step: Step) -> object:
        """Execute a step; return its outcome. Begun work ends before a cancellation is raised."""
        self.check()
        match step:
            case Wait(seconds):
                import asyncio  # noqa: PLC0415 - a third of the time that the blocking client takes to load

                await self._sleep(seconds)
                await asyncio.sleep(0)  # A given sleep may take no time, and another flow must go on meanwhile.
                return None
            case Work(task):
                return await _run_work_in_thread(task, self._remember_stop)
            case Fork(flows, at_once):
                return await _run_as_tasks(self._run, flows, at_once)
            case Open(request):
                await self.close()
                body = await self._transport.open(request)
                self._body = None if isinstance(body, Lost) else body
                return body if isinstance(body, Lost) else body.head
            case Read():
                return await self._body.read() if self._body else b""

    async def close(self) -> None:
        """Close the open body."""
        if self._body is not None:
            await self._body.close()


def _start(doing: Future[object], task: Callable[[], object], name: str) -> None:
    """Run a task in a daemon thread, unless it is cancelled before it begins.

    The thread has the caller's context, as asyncio's tasks have: a trace of the caller's leads on into its requests.
    """

    def run() -> None:
        if doing.set_running_or_notify_cancel():
            try:
                doing.set_result(task())
            except BaseException as error:  # noqa: BLE001 - raised where the result is taken
                doing.set_exception(error)

    threading.Thread(target=copy_context().run, args=(run,), name=name, daemon=True).start()


def _wait_for(doing: Sequence[Future[object]]) -> None:
    """Wait until all have ended, or one has failed."""
    while (ended := wait(doing, _LOOK, FIRST_EXCEPTION)).not_done and not any(one.exception() for one in ended.done):
        pass


def _run_shielded(task: Callable[[], object], stopped: Callable[[BaseException], None]) -> object:
    """Run a task to its end, a Ctrl-C notwithstanding; a second one breaks it off.

    The Ctrl-C is passed to `stopped`, which raises it later. Otherwise a row just written to the ledger would have
    no owner. Outside the main thread, where no Ctrl-C arrives, the task runs directly.
    """
    if threading.current_thread() is not threading.main_thread():
        return task()
    doing: Future[object] = Future()
    try:
        _start(doing, task, "reelport-work")
        _wait_for([doing])
    except BaseException as stop:  # a Ctrl-C above all
        if doing.cancel():
            raise
        stopped(stop)
        _wait_for([doing])
    return doing.result()


class Halted(BaseException):
    """Raised in a thread to stop it because another thread failed or was interrupted."""


class Halt:
    """One stop switch for all threads of a call, in forks and the forks within them."""

    def __init__(self) -> None:
        self._off = threading.Event()
        self._works = 0
        self._work_ended = threading.Condition()
        self.reason: BaseException = Halted()
        """Why all must stop: what the first thread failed with, or the Ctrl-C."""

    def stop(self, reason: BaseException) -> None:
        """Make every thread stop at its next step, and wake those that wait."""
        with self._work_ended:
            if not self._off.is_set():
                self.reason = reason
            self._off.set()

    def check(self) -> None:
        """Raise Halted when the switch is on."""
        if self._off.is_set():
            raise Halted

    @contextmanager
    def working(self) -> Iterator[None]:
        """Tell that the block is work which must come to its end."""
        with self._work_ended:
            self._works += 1
        try:
            yield
        finally:
            with self._work_ended:
                self._works -= 1
                self._work_ended.notify_all()

    def wait_for_work(self) -> None:
        """Wait for the end of the work that has begun; none begins once all must stop."""
        with self._work_ended:
            while self._works:
                self._work_ended.wait(_LOOK)

    def pause(self, seconds: float, sleep: Sleep) -> None:
        """Let seconds pass. Raises Halted as soon as all must stop."""
        # The main thread hears a Ctrl-C while it sleeps, and not everywhere while it waits for an event.
        if sleep is time.sleep and threading.current_thread() is not threading.main_thread():
            self._off.wait(seconds)
        else:
            sleep(seconds)
        self.check()


# Runs a flow's steps in the calling thread, until the flow ends or all must stop.
Drive = Callable[[Flow[object], Halt], object]


def _run_in_threads(drive: Drive, flows: Sequence[Flow[object]], at_once: int, halt: Halt) -> list[object]:
    """Run flows in `at_once` threads at most; return their results or ReelportErrors in order.

    Any other exception of a flow, and a Ctrl-C here, stops all threads and is then raised. Work that has begun, such
    as a row being written to the ledger, ends first; a second Ctrl-C breaks it off.
    """
    outcomes: list[object] = [None] * len(flows)
    left, lock = iter(enumerate(flows)), threading.Lock()

    def take_next() -> tuple[int, Flow[object]] | None:
        halt.check()
        with lock:
            return next(left, None)

    def run_flows() -> None:
        try:
            for place, flow in iter(take_next, None):
                try:
                    outcomes[place] = drive(flow, halt)
                except ReelportError as error:
                    outcomes[place] = error
        except BaseException as error:
            halt.stop(error)
            raise

    threads: list[Future[object]] = [Future() for _ in flows[:at_once]]
    try:
        for number, thread in enumerate(threads):
            _start(thread, run_flows, f"reelport-{number}")
        _wait_for(threads)
        _check_threads(threads, halt)
    except BaseException as error:  # a Ctrl-C above all: no thread may run on
        halt.stop(error)
        for thread in threads:
            thread.cancel()
        wait(threads, _GRACE)  # one that hangs is left behind
        halt.wait_for_work()
        raise
    return outcomes


def _check_threads(threads: Sequence[Future[object]], halt: Halt) -> None:
    """Raise why all must stop, with a note of which flow asked for these threads."""
    for thread in threads:
        if thread.done() and thread.exception() is halt.reason:
            thread.result()
    halt.check()


async def _run_as_tasks(
    run: Callable[[Flow[object]], Awaitable[object]], flows: Sequence[Flow[object]], at_once: int
) -> list[object]:
    """Run flows as asyncio tasks and return each one's result or ReelportError, in their order.

    Any other exception of a flow, and a cancellation, cancels all tasks and is then raised.
    """
    import asyncio  # noqa: PLC0415 - a third of the time that the blocking client takes to load

    room = asyncio.Semaphore(at_once)

    async def outcome(flow: Flow[object]) -> object:
        async with room:
            try:
                return await run(flow)
            except ReelportError as error:
                return error

    tasks = [asyncio.create_task(outcome(flow)) for flow in flows]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:  # cancellation above all: no task may run on
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


async def _run_work_in_thread(task: Callable[[], object], stopped: Callable[[BaseException], None]) -> object:
    """Run a task in a thread to its end; `stopped` gets a cancellation, to raise it later."""
    import asyncio  # noqa: PLC0415 - a third of the time that the blocking client takes to load

    doing = asyncio.ensure_future(asyncio.to_thread(task))
    while not doing.done():
        try:
            await asyncio.wait([doing])
        except asyncio.CancelledError as stop:
            stopped(stop)
    return doing.result()
