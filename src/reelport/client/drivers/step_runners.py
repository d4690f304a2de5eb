"""Step runners: execute a flow's steps, blocking or on asyncio."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from typing import TYPE_CHECKING

from reelport.client.flows.runner import AsyncRunner
from reelport.client.reports import AsyncSleep, Sleep
from reelport.client.steps import (
    TOO_SLOW,
    AsyncBody,
    AsyncTransport,
    Body,
    Exclusive,
    Fork,
    Lost,
    Open,
    Read,
    Reply,
    Request,
    Send,
    Step,
    Transport,
    Wait,
    Work,
)

if TYPE_CHECKING:
    import asyncio

    from reelport.client.drivers.fork import Drive, Halt

_LARGEST_ANSWER = 16 << 20
_TOO_LARGE = Lost("what it sends is too large to be an answer of a Reporting API")

_LOOK = 1.0  # seconds between two checks for a Ctrl-C, where waiting hides it


class StepRunner:
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
        self._stop: BaseException | None = None

    def execute(self, step: Step) -> object:  # noqa: PLR0911 - one for each kind of step
        """Execute a step; return its outcome. Begun work ends before a Ctrl-C is raised."""
        self.check()
        if self._halt is not None:
            self._halt.check()
        match step:
            case Wait(seconds):
                self._pause(seconds)
                return None
            case Work(task):
                with self._halt.working() if self._halt else nullcontext():
                    return _run_shielded(task, self._remember_stop)
            case Fork(flows, at_once):
                from reelport.client.drivers.fork import run_in_threads  # noqa: PLC0415 - one report needs no threads

                return run_in_threads(self._drive, flows, at_once, self._halt)
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

    def check(self) -> None:
        """Raise the Ctrl-C that came during work."""
        if self._stop is not None:
            raise self._stop

    def close(self) -> None:
        """Close the open body."""
        if self._body is not None:
            self._body.close()

    def _remember_stop(self, stop: BaseException) -> None:
        self._stop = stop

    def _pause(self, seconds: float) -> None:
        if self._halt is None:
            self._sleep(seconds)
        else:
            self._halt.pause(seconds, self._sleep)


class AsyncStepRunner:
    """Executes the steps of one flow on asyncio; holds its open response body."""

    def __init__(self, transport: AsyncTransport, sleep: AsyncSleep, lock: ExclusiveLock, run: AsyncRunner) -> None:
        self._transport = transport
        self._sleep = sleep
        self._lock = lock
        self._run = run
        self._body: AsyncBody | None = None
        self._stop: BaseException | None = None

    async def execute(self, step: Step) -> object:  # noqa: PLR0911 - one for each kind of step
        """Execute a step; return its outcome. Begun work ends before a cancellation is raised."""
        self.check()
        match step:
            case Wait(seconds):
                await self._sleep(seconds)
                return None
            case Work(task):
                from reelport.client.drivers.fork import run_work_in_thread  # noqa: PLC0415 - only asyncio's client needs it

                return await run_work_in_thread(task, self._remember_stop)
            case Fork(flows, at_once):
                from reelport.client.drivers.fork import run_as_tasks  # noqa: PLC0415 - one report doesn't need it

                return await run_as_tasks(self._run, flows, at_once)
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

    def check(self) -> None:
        """Raise the cancellation that came during work."""
        if self._stop is not None:
            raise self._stop

    async def close(self) -> None:
        """Close the open body."""
        if self._body is not None:
            await self._body.close()

    def _remember_stop(self, stop: BaseException) -> None:
        self._stop = stop


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


class _ShieldedTask:
    def __init__(self, task: Callable[[], object]) -> None:
        self._task = task
        self._claim = threading.Lock()
        self._done = threading.Event()
        self._result: object = None
        self._error: BaseException | None = None
        self.thread = threading.Thread(target=self._do, name="reelport-work", daemon=True)

    def claim(self) -> bool:
        return self._claim.acquire(blocking=False)

    def wait(self) -> None:
        while not self._done.wait(_LOOK):
            pass

    def result(self) -> object:
        if self._error is not None:
            raise self._error
        return self._result

    def _do(self) -> None:
        if not self.claim():
            return
        try:
            self._result = self._task()
        except BaseException as error:  # noqa: BLE001 - raised where the result is taken
            self._error = error
        finally:
            self._done.set()


def _run_shielded(task: Callable[[], object], stopped: Callable[[BaseException], None]) -> object:
    """Run a task to its end, a Ctrl-C notwithstanding; a second one breaks it off.

    The Ctrl-C is passed to `stopped`, which raises it later. Otherwise a row just written to the ledger would have
    no owner. Outside the main thread, where no Ctrl-C arrives, the task runs directly.
    """
    if threading.current_thread() is not threading.main_thread():
        return task()
    doing = _ShieldedTask(task)
    try:
        doing.thread.start()
        doing.wait()
    except BaseException as stop:  # a Ctrl-C above all
        if doing.claim():
            raise
        stopped(stop)
        doing.wait()
    return doing.result()
