"""Run several flows side by side, in threads or asyncio; stop them together, promptly.

Threads are daemons: a stop wakes those that wait, lets work end that has begun, and leaves behind one that hangs in
the network, so that it keeps no interpreter alive.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from typing import Protocol

from reelport.client.steps import Flow
from reelport.errors import ReelportError

_GRACE = 2.0  # seconds that threads get to clean up when all must stop
_LOOK = 1.0  # seconds between two checks for a Ctrl-C, where waiting for a lock hides it


class Halted(BaseException):
    """Raised in a thread to stop it because another thread failed or was interrupted."""


class Halt:
    """One stop switch for all threads of a fork, and of the forks within it."""

    def __init__(self) -> None:
        self._off = threading.Event()
        self._works = 0
        self._work_ended = threading.Condition()

    def stop(self) -> None:
        """Make every thread stop at its next step, and wake those that wait."""
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

    def pause(self, seconds: float, sleep: Callable[[float], None]) -> None:
        """Let seconds pass. Raises Halted as soon as all must stop."""
        if sleep is time.sleep:
            self._off.wait(seconds)
        else:
            sleep(seconds)
        self.check()


class Drive(Protocol):
    """Runs a flow's steps in the calling thread, until the flow ends or all must stop."""

    def __call__(self, flow: Flow[object], /, halt: Halt | None) -> object:
        """Run the flow and return its result."""


def run_in_threads(
    drive: Drive, flows: Sequence[Flow[object]], at_once: int, outer: Halt | None = None
) -> list[object]:
    """Run flows in `at_once` threads at most; return their results or ReelportErrors in order.

    Any other exception of a flow, and a Ctrl-C here, stops all threads and is raised once begun work, such as a row
    being written to the ledger, has ended; a second Ctrl-C breaks that off.
    """
    pool = _WorkerPool(drive, flows, outer or Halt())
    workers = [_Worker(pool, number) for number in range(min(at_once, len(flows)))]
    try:
        for worker in workers:
            worker.start()
        pool.wait(workers)
    except BaseException:  # a Ctrl-C above all: no thread may run on
        pool.halt.stop()
        _wait_for_workers(workers)
        pool.halt.wait_for_work()
        raise
    return pool.outcomes


class _Worker:
    """A pool's thread. An event marks its end: after a Ctrl-C, `join` takes it for ended."""

    def __init__(self, pool: _WorkerPool, number: int) -> None:
        self._pool = pool
        # In the caller's context, as asyncio's tasks are: a trace of the caller's leads on into its requests.
        run = copy_context().run
        self._thread = threading.Thread(target=run, args=(self._work,), name=f"reelport-{number}", daemon=True)
        self._ended = threading.Event()

    def start(self) -> None:
        self._thread.start()

    def wait_ended(self, seconds: float) -> bool:
        """Wait so many seconds at most for the thread's end; return whether it has ended."""
        return self._thread.ident is None or self._ended.wait(seconds)

    def _work(self) -> None:
        try:
            self._pool.work()
        finally:
            self._ended.set()


class _WorkerPool:
    def __init__(self, drive: Drive, flows: Sequence[Flow[object]], halt: Halt) -> None:
        self._drive = drive
        self._next: Iterator[tuple[int, Flow[object]]] = enumerate(flows)
        self._lock = threading.Lock()
        self._failure: BaseException | None = None
        self._failed_at = 0.0
        self.halt = halt
        self.outcomes: list[object] = [None] * len(flows)

    def work(self) -> None:
        try:
            while (job := self._next_flow()) is not None:
                place, flow = job
                try:
                    self.outcomes[place] = self._drive(flow, halt=self.halt)
                except ReelportError as error:
                    self.outcomes[place] = error
        except BaseException as error:  # noqa: BLE001 - the waiting thread raises it
            with self._lock:
                if self._failure is None or isinstance(self._failure, Halted):
                    self._failure, self._failed_at = error, time.monotonic()
            self.halt.stop()

    def wait(self, workers: list[_Worker]) -> None:
        for worker in workers:
            while not self._is_failure_known() and not worker.wait_ended(_LOOK):
                pass
        if self._failure is not None:
            raise self._failure

    def _is_failure_known(self) -> bool:
        """Whether the reason for stopping is known: after Halted, the real error may still come."""
        if isinstance(self._failure, Halted):
            return time.monotonic() - self._failed_at >= _GRACE
        return self._failure is not None

    def _next_flow(self) -> tuple[int, Flow[object]] | None:
        self.halt.check()
        with self._lock:
            return next(self._next, None)


def _wait_for_workers(workers: list[_Worker]) -> None:
    """Wait two seconds at most for threads told to stop; leave behind those that hang."""
    until = time.monotonic() + _GRACE
    for worker in workers:
        worker.wait_ended(max(0.0, until - time.monotonic()))


async def run_as_tasks(
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


async def run_work_in_thread(task: Callable[[], object], stopped: Callable[[BaseException], None]) -> object:
    """Run a task in a thread to its end; `stopped` gets a cancellation, to raise it later."""
    import asyncio  # noqa: PLC0415 - a third of the time that the blocking client takes to load

    doing = asyncio.ensure_future(asyncio.to_thread(task))
    while not doing.done():
        try:
            await asyncio.wait([doing])
        except asyncio.CancelledError as stop:
            stopped(stop)
    return doing.result()
