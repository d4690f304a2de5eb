"""Step runners: execute a flow's steps, blocking or on asyncio; several flows side by side.

Threads are daemons: a stop wakes those that wait, lets work end that has begun, and leaves behind one that hangs in
the network, so that it keeps no interpreter alive.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import closing, contextmanager, nullcontext
from contextvars import copy_context
from typing import TYPE_CHECKING, Protocol

from reelport.client.steps import (
    TOO_SLOW,
    AsyncBody,
    AsyncRunner,
    AsyncSleep,
    AsyncTransport,
    Body,
    Exclusive,
    Flow,
    Fork,
    Lost,
    Open,
    Read,
    Reply,
    Request,
    Send,
    Sleep,
    Step,
    Transport,
    Wait,
    Work,
)
from reelport.errors import ReelportError

if TYPE_CHECKING:
    import asyncio

_LARGEST_ANSWER = 16 << 20
_TOO_LARGE = Lost("what it sends is too large to be an answer of a Reporting API")
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

    def __init__(
        self, transport: Transport, sleep: Sleep, lock: threading.Lock, drive: Drive, halt: Halt | None
    ) -> None:
        self._transport = transport
        self._sleep = sleep
        self._lock = lock
        self._drive = drive
        self._halt = halt
        self._body: Body | None = None

    def execute(self, step: Step) -> object:  # noqa: PLR0911 - one for each kind of step
        """Execute a step; return its outcome. Begun work ends before a Ctrl-C is raised."""
        self.check()
        if self._halt is not None:
            self._halt.check()
        match step:
            case Wait(seconds):
                if self._halt is None:
                    self._sleep(seconds)
                else:
                    self._halt.pause(seconds, self._sleep)
                return None
            case Work(task):
                with self._halt.working() if self._halt else nullcontext():
                    return _run_shielded(task, self._remember_stop)
            case Fork(flows, at_once):
                return _run_in_threads(self._drive, flows, at_once, self._halt or Halt())
            case Exclusive(flow):
                with self._lock:
                    return self._drive(flow, halt=self._halt)
            case Open(request):
                self.close()
                body = self._transport.open(request)
                self._body = None if isinstance(body, Lost) else body
                return body if isinstance(body, Lost) else body.head
            case Read():
                return self._body.read() if self._body else b""
            case Send(request):
                body = self._transport.open(request)
                return body if isinstance(body, Lost) else _read_whole(body, request)

    def close(self) -> None:
        """Close the open body."""
        if self._body is not None:
            self._body.close()


class AsyncStepRunner(_Stoppable):
    """Executes the steps of one flow on asyncio; holds its open response body."""

    def __init__(self, transport: AsyncTransport, sleep: AsyncSleep, lock: ExclusiveLock, run: AsyncRunner) -> None:
        self._transport = transport
        self._sleep = sleep
        self._lock = lock
        self._run = run
        self._body: AsyncBody | None = None

    async def execute(self, step: Step) -> object:  # noqa: PLR0911 - one for each kind of step
        """Execute a step; return its outcome. Begun work ends before a cancellation is raised."""
        self.check()
        match step:
            case Wait(seconds):
                await self._sleep(seconds)
                return None
            case Work(task):
                return await _run_work_in_thread(task, self._remember_stop)
            case Fork(flows, at_once):
                return await _run_as_tasks(self._run, flows, at_once)
            case Exclusive(flow):
                async with self._lock.of_running_loop():
                    return await self._run(flow)
            case Open(request):
                await self.close()
                body = await self._transport.open(request)
                self._body = None if isinstance(body, Lost) else body
                return body if isinstance(body, Lost) else body.head
            case Read():
                return await self._body.read() if self._body else b""
            case Send(request):
                body = await self._transport.open(request)
                return body if isinstance(body, Lost) else await _read_whole_async(body, request)

    async def close(self) -> None:
        """Close the open body."""
        if self._body is not None:
            await self._body.close()


class ExclusiveLock:
    """The asyncio lock of a client's exclusive flows, one for each event loop."""

    def __init__(self) -> None:
        self._lock: asyncio.Lock | None = None
        self._loop: object = None

    def of_running_loop(self) -> asyncio.Lock:
        """Return the running loop's lock; a client may outlive a loop."""
        import asyncio  # noqa: PLC0415 - a third of the time that the blocking client takes to load

        loop = asyncio.get_running_loop()
        if self._lock is None or self._loop is not loop:
            self._lock, self._loop = asyncio.Lock(), loop
        return self._lock


class _Answer:
    def __init__(self, request: Request) -> None:
        self._silence = request.timeout
        self._left = request.pace
        self._data = bytearray()

    def add(self, chunk: bytes, seconds: float) -> Lost | None:
        """Add what so many seconds brought; Lost where it is too much, or comes too slowly.

        What came too late may be the last: only more after it is Lost. Of one wait at most the silence after which the
        transport gives up counts: beyond that the process, or its event loop, stood still.
        """
        if self._left <= 0:
            return TOO_SLOW
        self._left -= min(seconds, self._silence)
        self._data += chunk
        return _TOO_LARGE if len(self._data) > _LARGEST_ANSWER else None

    def complete(self, head: Reply) -> Reply:
        return Reply(head.status, head.headers, bytes(self._data))


def _read_whole(body: Body, request: Request) -> Reply | Lost:
    answer, began = _Answer(request), time.monotonic()
    with closing(body):
        while chunk := body.read():
            before, began = began, time.monotonic()
            fault = chunk if isinstance(chunk, Lost) else answer.add(chunk, began - before)
            if fault is not None:
                return fault
    return answer.complete(body.head)


async def _read_whole_async(body: AsyncBody, request: Request) -> Reply | Lost:
    answer, began = _Answer(request), time.monotonic()
    try:
        while chunk := await body.read():
            before, began = began, time.monotonic()
            fault = chunk if isinstance(chunk, Lost) else answer.add(chunk, began - before)
            if fault is not None:
                return fault
    finally:
        await body.close()
    return answer.complete(body.head)


def _run_shielded(task: Callable[[], object], stopped: Callable[[BaseException], None]) -> object:
    """Run a task to its end, a Ctrl-C notwithstanding; a second one breaks it off.

    The Ctrl-C is passed to `stopped`, which raises it later. Otherwise a row just written to the ledger would have
    no owner. Outside the main thread, where no Ctrl-C arrives, the task runs directly.
    """
    if threading.current_thread() is not threading.main_thread():
        return task()
    doing: Future[object] = Future()

    def work() -> None:
        if doing.set_running_or_notify_cancel():
            try:
                doing.set_result(task())
            except BaseException as error:  # noqa: BLE001 - raised where the result is taken
                doing.set_exception(error)

    try:
        threading.Thread(target=work, name="reelport-work", daemon=True).start()
        _wait_for(doing)
    except BaseException as stop:  # a Ctrl-C above all
        if doing.cancel():
            raise
        stopped(stop)
        _wait_for(doing)
    return doing.result()


def _wait_for(doing: Future[object]) -> None:
    while not doing.done():
        wait([doing], _LOOK)


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

    def pause(self, seconds: float, sleep: Sleep) -> None:
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


def _run_in_threads(drive: Drive, flows: Sequence[Flow[object]], at_once: int, halt: Halt) -> list[object]:
    """Run flows in `at_once` threads at most; return their results or ReelportErrors in order.

    Any other exception of a flow, and a Ctrl-C here, stops all threads and is then raised. Work that has begun, such
    as a row being written to the ledger, ends first; a second Ctrl-C breaks it off.
    """
    pool = _Pool(drive, flows, halt)
    workers = [_Worker(pool.work, number) for number in range(min(at_once, len(flows)))]
    try:
        for worker in workers:
            worker.start()
        pool.wait(workers)
    except BaseException:  # a Ctrl-C above all: no thread may run on
        halt.stop()
        until = time.monotonic() + _GRACE
        for worker in workers:  # one that hangs is left behind
            worker.wait_over(max(0.0, until - time.monotonic()))
        halt.wait_for_work()
        raise
    return pool.outcomes


class _Worker(threading.Thread):
    """A fork's thread. An event marks its end: after a Ctrl-C, `join` takes it for ended."""

    def __init__(self, work: Callable[[], None], number: int) -> None:
        # In the caller's context, as asyncio's tasks are: a trace of the caller's leads on into its requests.
        super().__init__(target=copy_context().run, args=(work,), name=f"reelport-{number}", daemon=True)
        self._over = threading.Event()

    def run(self) -> None:
        try:
            super().run()
        finally:
            self._over.set()

    def wait_over(self, seconds: float) -> bool:
        return self.ident is None or self._over.wait(seconds)


class _Pool:
    def __init__(self, drive: Drive, flows: Sequence[Flow[object]], halt: Halt) -> None:
        self._drive = drive
        self._halt = halt
        self._next: Iterator[tuple[int, Flow[object]]] = enumerate(flows)
        self._lock = threading.Lock()
        self._failure: BaseException | None = None
        self._failed_at = 0.0
        self.outcomes: list[object] = [None] * len(flows)

    def work(self) -> None:
        try:
            while (job := self._next_flow()) is not None:
                place, flow = job
                try:
                    self.outcomes[place] = self._drive(flow, halt=self._halt)
                except ReelportError as error:
                    self.outcomes[place] = error
        except BaseException as error:  # noqa: BLE001 - the waiting thread raises it
            with self._lock:
                if self._failure is None or isinstance(self._failure, Halted):
                    self._failure, self._failed_at = error, time.monotonic()
            self._halt.stop()

    def wait(self, workers: list[_Worker]) -> None:
        for worker in workers:
            while not self._is_failure_known() and not worker.wait_over(_LOOK):
                pass
        if self._failure is not None:
            raise self._failure

    def _is_failure_known(self) -> bool:
        """Whether the reason for stopping is known: after Halted, the real error may still come."""
        if isinstance(self._failure, Halted):
            return time.monotonic() - self._failed_at >= _GRACE
        return self._failure is not None

    def _next_flow(self) -> tuple[int, Flow[object]] | None:
        self._halt.check()
        with self._lock:
            return next(self._next, None)


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
