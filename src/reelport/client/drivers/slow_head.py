"""Bounds the time of the head of an answer.

The HTTP library bounds each wait for bytes alone.

The library's `trace` extension tells of each network stream that it opens. The reads of those streams are counted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import httpx2

from reelport.client.steps import Request


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
    """Let SlowHead be raised where heads of the block's answers exceed the request's pace.

    The block's request needs `trace` or `trace_async` as its extension `trace`.
    """
    before = _HEAD.set(_Head(request))
    try:
        yield
    finally:
        _HEAD.reset(before)


def trace(event: str, info: dict[str, Any]) -> None:
    """Follow a blocking request: count the reads of each stream that it opens."""
    if _is_opened(event):
        stream = info["return_value"]
        read = stream.read

        def read_counted(max_bytes: int, timeout: float | None = None) -> bytes:
            with _count_wait():
                data: bytes = read(max_bytes, timeout)
                return data

        stream.read = read_counted
    _note_answer(event)


async def trace_async(event: str, info: dict[str, Any]) -> None:
    """Follow a request on asyncio, as `trace` does."""
    if _is_opened(event):
        stream = info["return_value"]
        read = stream.read

        async def read_counted(max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - the library's
            with _count_wait():
                data: bytes = await read(max_bytes, timeout)
                return data

        stream.read = read_counted
    _note_answer(event)


def _is_opened(event: str) -> bool:
    return event.endswith((".connect_tcp.complete", ".start_tls.complete"))


def _note_answer(event: str) -> None:
    if event.endswith(".receive_response_headers.started") and (head := _HEAD.get()) is not None:
        head.expect_answer()


def _count_wait() -> AbstractContextManager[None]:
    head = _HEAD.get()
    return nullcontext() if head is None else head.count()
