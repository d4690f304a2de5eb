"""Several flows driven side by side, by threads or on the event loop, that stop together and promptly.

Threads are daemons: one that waits is woken when all is to stop, and one that hangs in the network
is left behind, so that it keeps no interpreter alive.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Protocol

from reelport.client.steps import Flow
from reelport.errors import ReelportError

_GRACE = 2.0
"""Seconds that threads get to put their things in order when all is to stop."""

_LOOK = 1.0
"""Seconds between two looks for a Ctrl-C, where waiting for a lock hides it."""


class Halted(BaseException):
    """Another thread was interrupted: this one stops, and puts its things in order on the way out."""


class Halt:
    """One switch for all threads of a fork, and of the forks within it."""

    def __init__(self) -> None:
        self._off = threading.Event()

    def stop(self) -> None:
        """Have every thread stop at its next step, and wake those that wait."""
        self._off.set()

    def check(self) -> None:
        """Raise Halted when all is to stop."""
        if self._off.is_set():
            raise Halted

    def pause(self, seconds: float, sleep: Callable[[float], None]) -> None:
        """Let seconds pass, unless all is to stop: then raise Halted at once."""
        if sleep is time.sleep:
            self._off.wait(seconds)
        else:
            sleep(seconds)
        self.check()


class Drive(Protocol):
    """What takes a flow's steps in a thread, until it ends or all is to stop."""

    def __call__(self, flow: Flow[object], /, halt: Halt | None) -> object:
        """The flow's result."""


def run_parallel(drive: Drive, flows: Sequence[Flow[object]], at_once: int, outer: Halt | None = None) -> list[object]:
    """What each flow came to, a result or a ReelportError, in their order; at most `at_once` threads at a time.

    Whatever else a flow raises, and a Ctrl-C here, stops them all before it goes on.
    """
    crew = _WorkerPool(drive, flows, outer or Halt())
    workers = [_Worker(crew, number) for number in range(min(at_once, len(flows)))]
    try:
        for worker in workers:
            worker.start()
        crew.wait(workers)
    except BaseException:  # a Ctrl-C above all: nothing may go on behind our back
        crew.halt.stop()
        _gather(workers)
        raise
    return crew.outcomes


class _Worker:
    """A thread of a crew. Its end is an event: a `join` that a Ctrl-C breaks off takes the thread for ended."""

    def __init__(self, crew: _WorkerPool, number: int) -> None:
        self._crew = crew
        self._thread = threading.Thread(target=self._work, name=f"reelport-{number}", daemon=True)
        self._ended = threading.Event()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def ended(self, seconds: float) -> bool:
        """Wait for its end so long at most, and say whether that came; one that never began has ended."""
        return self._thread.ident is None or self._ended.wait(seconds)

    def _work(self) -> None:
        try:
            self._crew.work()
        finally:
            self._ended.set()


class _WorkerPool:
    """The flows that are still to be driven, and what became of the others."""

    def __init__(self, drive: Drive, flows: Sequence[Flow[object]], halt: Halt) -> None:
        self._drive = drive
        self._next: Iterator[tuple[int, Flow[object]]] = enumerate(flows)
        self._turn = threading.Lock()
        self._failure: BaseException | None = None
        self._failed_at = 0.0
        self.halt = halt
        self.outcomes: list[object] = [None] * len(flows)

    def work(self) -> None:
        """Drive one flow after another, until there is none left or all is to stop."""
        try:
            while (job := self._take()) is not None:
                place, flow = job
                try:
                    self.outcomes[place] = self._drive(flow, halt=self.halt)
                except ReelportError as error:
                    self.outcomes[place] = error
        except BaseException as error:  # noqa: BLE001 - told to the thread that waits, which raises it
            with self._turn:
                if self._failure is None or isinstance(self._failure, Halted):
                    self._failure, self._failed_at = error, time.monotonic()
            self.halt.stop()

    def wait(self, workers: list[_Worker]) -> None:
        """Wait for all threads to end. Raises what no flow should raise."""
        for worker in workers:
            while not self._failed() and not worker.ended(_LOOK):
                pass
        if self._failure is not None:
            raise self._failure

    def _failed(self) -> bool:
        """Whether it is known why all stops: a thread that was halted is not the reason, which may be on its way."""
        if isinstance(self._failure, Halted):
            return time.monotonic() - self._failed_at >= _GRACE
        return self._failure is not None

    def _take(self) -> tuple[int, Flow[object]] | None:
        self.halt.check()
        with self._turn:
            return next(self._next, None)


def _gather(workers: list[_Worker]) -> None:
    """Wait a while for threads that were told to stop; those that hang are left behind."""
    until = time.monotonic() + _GRACE
    for worker in workers:
        worker.ended(max(0.0, until - time.monotonic()))


async def gather(
    run: Callable[[Flow[object]], Awaitable[object]], flows: Sequence[Flow[object]], at_once: int
) -> list[object]:
    """The same on the event loop: whatever else a flow raises, and being cancelled, cancels them all first."""
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
    except BaseException:  # cancellation above all: nothing may go on behind our back
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


async def in_thread(task: Callable[[], object], stopped: Callable[[BaseException], None]) -> object:
    """The result of a task that a thread does, also where this is cancelled meanwhile: that is told, and can wait."""
    import asyncio  # noqa: PLC0415 - a third of the time that the blocking client takes to load

    doing = asyncio.ensure_future(asyncio.to_thread(task))
    while not doing.done():
        try:
            await asyncio.wait([doing])
        except asyncio.CancelledError as stop:
            stopped(stop)
    return doing.result()
