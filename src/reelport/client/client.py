"""Client and AsyncClient: two short drivers for the same flows."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Self

from reelport.client.config import Settings
from reelport.client.report import AsyncReports, AsyncRunner, AsyncSleep, Reports, Sleep
from reelport.client.session import Clock, Session
from reelport.client.steps import Flow, Fork, Lost, Open, Read, Reply, Send, Step, T, Wait, Work
from reelport.client.transport import AsyncBody, AsyncTransport, Body, Transport
from reelport.errors import ReelportError, ServiceError

if TYPE_CHECKING:
    from reelport.client.fork import Drive, Halt

_LARGEST_ANSWER = 16 << 20


class Client:
    """Gets reports from a Reporting API: `client.reports.run(query, "views.csv")`.

    What isn't given comes from REELPORT_URL, REELPORT_API_KEY and REELPORT_API_SECRET; without an
    address it speaks to Dailymotion. Threads may share one.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        secret: str | None = None,
        *,
        transport: Transport | None = None,
        clock: Clock | None = None,
        sleep: Sleep = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._session = Session(Settings.read(os.environ, url, key, secret), clock or Clock(), chance)
        self._transport = transport or _http()
        self._sleep = sleep
        self.reports = Reports(self._run, self._session)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(url={self._session.settings.url!r})"

    def close(self) -> None:
        """Let go of the connections."""
        self._transport.close()

    def _run(self, flow: Flow[T], /, halt: Halt | None = None) -> T:
        """Drive a flow to its result, unless `halt` stops it."""
        hand = _Hand(self._transport, self._sleep, self._run, halt)
        step: Callable[[], Step] = partial(next, flow)
        with closing(flow), closing(hand):
            while True:
                try:
                    wanted = step()
                except StopIteration as end:
                    return end.value  # type: ignore[no-any-return]  # a generator's result has its flow's type
                try:
                    step = partial(flow.send, hand.take(wanted))
                except ReelportError as error:
                    step = partial(flow.throw, error)


class _Hand:
    """Takes the steps of one flow; holds the body that is open."""

    def __init__(self, transport: Transport, sleep: Sleep, drive: Drive, halt: Halt | None) -> None:
        self._transport = transport
        self._sleep = sleep
        self._drive = drive
        self._halt = halt
        self._body: Body | None = None

    def take(self, step: Step) -> object:
        if self._halt is not None:
            self._halt.check()
        match step:
            case Wait(seconds):
                self._pause(seconds)
                return None
            case Work(task):
                return task()
            case Fork(flows, at_once):
                from reelport.client.fork import side_by_side  # noqa: PLC0415 - one report needs no threads

                return side_by_side(self._drive, flows, at_once, self._halt)
            case Open(request):
                self.close()
                body = self._transport.open(request)
                self._body = None if isinstance(body, Lost) else body
                return body if isinstance(body, Lost) else body.head
            case Read():
                return self._body.read() if self._body else b""
            case Send(request):
                body = self._transport.open(request)
                return body if isinstance(body, Lost) else _whole(body)

    def close(self) -> None:
        if self._body is not None:
            self._body.close()

    def _pause(self, seconds: float) -> None:
        if self._halt is None:
            self._sleep(seconds)
        else:
            self._halt.pause(seconds, self._sleep)


class AsyncClient:
    """The twin of `Client` for asyncio: the same methods, awaited; `attach` alone needs no await."""

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        secret: str | None = None,
        *,
        transport: AsyncTransport | None = None,
        clock: Clock | None = None,
        sleep: AsyncSleep | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._session = Session(Settings.read(os.environ, url, key, secret), clock or Clock(), chance)
        self._transport = transport or _async_http()
        self._sleep = sleep or _asleep
        self.reports = AsyncReports(self._run, self._session)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(url={self._session.settings.url!r})"

    async def close(self) -> None:
        """Let go of the connections."""
        await self._transport.close()

    async def _run(self, flow: Flow[T], /) -> T:
        """Drive a flow to its result."""
        hand = _AsyncHand(self._transport, self._sleep, self._run)
        step: Callable[[], Step] = partial(next, flow)
        with closing(flow):
            try:
                while True:
                    try:
                        wanted = step()
                    except StopIteration as end:
                        return end.value  # type: ignore[no-any-return]  # a generator's result has its flow's type
                    try:
                        step = partial(flow.send, await hand.take(wanted))
                    except ReelportError as error:
                        step = partial(flow.throw, error)
            finally:
                await hand.close()


class _AsyncHand:
    """Takes the steps of one flow; holds the body that is open."""

    def __init__(self, transport: AsyncTransport, sleep: AsyncSleep, run: AsyncRunner) -> None:
        self._transport = transport
        self._sleep = sleep
        self._run = run
        self._body: AsyncBody | None = None

    async def take(self, step: Step) -> object:
        match step:
            case Wait(seconds):
                await self._sleep(seconds)
                return None
            case Work(task):
                from reelport.client.fork import in_thread  # noqa: PLC0415 - only asyncio's client needs it

                return await in_thread(task)
            case Fork(flows, at_once):
                from reelport.client.fork import together  # noqa: PLC0415 - one report needs it not

                return await together(self._run, flows, at_once)
            case Open(request):
                await self.close()
                body = await self._transport.open(request)
                self._body = None if isinstance(body, Lost) else body
                return body if isinstance(body, Lost) else body.head
            case Read():
                return await self._body.read() if self._body else b""
            case Send(request):
                body = await self._transport.open(request)
                return body if isinstance(body, Lost) else await _awhole(body)

    async def close(self) -> None:
        if self._body is not None:
            await self._body.close()


def _http() -> Transport:
    from reelport.client.http import Http  # noqa: PLC0415 - see there

    return Http()


def _async_http() -> AsyncTransport:
    from reelport.client.http import AsyncHttp  # noqa: PLC0415 - see there

    return AsyncHttp()


async def _asleep(seconds: float) -> None:
    import asyncio  # noqa: PLC0415 - a third of the time that the blocking client takes to load

    await asyncio.sleep(seconds)


def _whole(body: Body) -> Reply | Lost:
    """An answer read to its end."""
    data = bytearray()
    with closing(body):
        while chunk := body.read():
            if isinstance(chunk, Lost):
                return chunk
            data += _bounded(data, chunk)
    return Reply(body.head.status, body.head.headers, bytes(data))


async def _awhole(body: AsyncBody) -> Reply | Lost:
    """An answer read to its end."""
    data = bytearray()
    try:
        while chunk := await body.read():
            if isinstance(chunk, Lost):
                return chunk
            data += _bounded(data, chunk)
    finally:
        await body.close()
    return Reply(body.head.status, body.head.headers, bytes(data))


def _bounded(data: bytearray, chunk: bytes) -> bytes:
    if len(data) + len(chunk) > _LARGEST_ANSWER:
        raise ServiceError("The service's answer is too large to be one of a Reporting API.")
    return chunk
