"""Bounds the time in which the head of an answer comes, which the HTTP library doesn't.

It bounds each wait for bytes alone. Its network streams are the only place where each wait is seen: they are
wrapped. Where a later version has no such place any more, heads are not bounded, and all else works.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import httpx2

from reelport.client.steps import Request

if TYPE_CHECKING:
    from httpcore2 import AsyncNetworkBackend, AsyncNetworkStream, NetworkBackend, NetworkStream

_P = ParamSpec("_P")
_T = TypeVar("_T")
_S = TypeVar("_S")


class SlowHead(httpx2.ReadTimeout):
    """The head of an answer came in pieces for longer than the request allows."""


class _Head:
    """How many seconds the heads of a request's answers may still take; it may have several.

    A redirect or a proxy's answer has one of its own. The wait for the first bytes of each is the service's work, and
    doesn't count: the library bounds it.
    """

    def __init__(self, request: Request) -> None:
        self._left = request.pace
        self._silence = request.timeout
        self._begun = False

    def expect_answer(self) -> None:
        """Wait for the first bytes of another answer."""
        self._begun = False

    @contextmanager
    def count(self) -> Iterator[None]:
        """Count the seconds of the block, a wait for bytes; SlowHead where none is left.

        Of one wait no more counts than the silence after which the library gives up: beyond that the process, or its
        event loop, stood still.
        """
        if self._left <= 0:
            raise SlowHead("the head of the answer only trickles")
        began = time.monotonic()
        yield
        if self._begun:
            self._left -= min(time.monotonic() - began, self._silence)
        self._begun = True


_HEAD: ContextVar[_Head | None] = ContextVar("reelport_head", default=None)
"""Set while a request is sent and its head is read; what reads a body counts for itself."""


@contextmanager
def bounded_head(request: Request) -> Iterator[None]:
    """Let SlowHead be raised where heads of the block's answers exceed the request's pace."""
    before = _HEAD.set(_Head(request))
    try:
        yield
    finally:
        _HEAD.reset(before)


def watch_heads(client: httpx2.Client | httpx2.AsyncClient) -> None:
    """Wrap the network streams that a client will open, those through proxies too."""
    transports = [getattr(client, "_transport", None), *getattr(client, "_mounts", {}).values()]
    wrapper = _Backend if isinstance(client, httpx2.Client) else _AsyncBackend
    for pool in (getattr(transport, "_pool", None) for transport in transports):
        if (backend := getattr(pool, "_network_backend", None)) is not None:
            setattr(pool, "_network_backend", wrapper(backend))  # noqa: B010 - it has no public name


class _Backend:
    """Makes blocking streams that count."""

    def __init__(self, inner: NetworkBackend) -> None:
        self._inner = inner
        self.connect_tcp = _compose(inner.connect_tcp, _Stream)

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


class _Stream:
    """A blocking stream that counts the waits for a head."""

    def __init__(self, inner: NetworkStream) -> None:
        self._inner = inner
        self.start_tls = _compose(inner.start_tls, _Stream)

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _count_wait():
            return self._inner.read(max_bytes, timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        _expect_answer()
        self._inner.write(buffer, timeout)


class _AsyncBackend:
    """Makes streams on asyncio that count."""

    def __init__(self, inner: AsyncNetworkBackend) -> None:
        self._inner = inner
        self.connect_tcp = _compose_async(inner.connect_tcp, _AsyncStream)

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


class _AsyncStream:
    """A stream on asyncio that counts the waits for a head."""

    def __init__(self, inner: AsyncNetworkStream) -> None:
        self._inner = inner
        self.start_tls = _compose_async(inner.start_tls, _AsyncStream)

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - the library's own
        with _count_wait():
            return await self._inner.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the library's own
        _expect_answer()
        await self._inner.write(buffer, timeout)


def _count_wait() -> AbstractContextManager[None]:
    head = _HEAD.get()
    return nullcontext() if head is None else head.count()


def _expect_answer() -> None:
    if (head := _HEAD.get()) is not None:
        head.expect_answer()


def _compose(make: Callable[_P, _T], wrap: Callable[[_T], _S]) -> Callable[_P, _S]:
    def make_wrapped(*args: _P.args, **kwargs: _P.kwargs) -> _S:
        return wrap(make(*args, **kwargs))

    return make_wrapped


def _compose_async(make: Callable[_P, Awaitable[_T]], wrap: Callable[[_T], _S]) -> Callable[_P, Awaitable[_S]]:
    async def make_wrapped(*args: _P.args, **kwargs: _P.kwargs) -> _S:
        return wrap(await make(*args, **kwargs))

    return make_wrapped
