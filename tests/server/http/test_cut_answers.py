"""Answers that are cut: a client sees that, also where only the connection's end tells that of the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.server.http.serving import serve

from reelport.server.http.connections import Connection

Send = Callable[[object], Any]
ASK = b"GET / HTTP/1.0\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"
PART = bytes(100_000)


class Impatient(Connection):
    """Gives a reader a moment to take an answer, and tells when it has closed."""

    stalled_seconds = 0.05
    lost: asyncio.Event

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell it."""
        self.lost.set()
        super().connection_lost(exc)


async def begin(send: Send, *headers: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [*headers]})
    await send({"type": "http.response.body", "body": PART, "more_body": True})


async def leave(scope: object, receive: object, send: Send) -> None:
    """End without the end of the body, as a download does whose key was revoked."""
    del scope, receive
    await begin(send)


async def leave_a_file(scope: object, receive: object, send: Send) -> None:
    del scope, receive
    await begin(send, (b"content-length", b"%d" % (2 * len(PART))))


async def fail(scope: object, receive: object, send: Send) -> None:
    del scope, receive
    await begin(send)
    raise OSError("the disk is gone")


async def finish(scope: object, receive: object, send: Send) -> None:
    del scope, receive
    await begin(send)
    await send({"type": "http.response.body", "body": PART})


def read(
    application: object,
    protocol: type[Connection] = Connection,
    asked: bytes = ASK,
    awaited: asyncio.Event | None = None,
) -> bytes | None:
    """All that comes back, read after an event; None where the connection is reset."""

    async def run() -> bytes | None:
        async with serve(protocol, application) as connect, asyncio.timeout(300):
            reader = await connect(asked)
            if awaited is not None:
                await awaited.wait()
            try:
                return await reader.read()
            except ConnectionResetError:
                return None

    return asyncio.run(run())


@pytest.mark.parametrize("application", [leave, fail])
def test_a_cut_that_its_end_would_not_show_is_a_reset(application: object) -> None:
    """HTTP/1.0 knows no chunks: proxies speak it, and would pass a part on as the whole file."""
    assert read(application) is None


def test_so_is_one_of_a_reader_that_takes_nothing() -> None:
    """It is cut by its timer."""
    cut = asyncio.Event()

    async def send_on(scope: object, receive: object, send: Send) -> None:
        del scope, receive
        await begin(send)
        for _ in range(300):  # far more than is on its way at once: it waits until the reader has gone
            await send({"type": "http.response.body", "body": PART, "more_body": True})
        cut.set()

    Impatient.lost = asyncio.Event()
    assert read(send_on, Impatient, awaited=cut) is None


@pytest.mark.parametrize(("asked", "is_reset"), [(ASK, True), (LAST, False)])
def test_a_whole_answer_whose_end_nobody_takes_is_cut_in_time(asked: bytes, *, is_reset: bool) -> None:
    """The app has given all, and the connection ends with it: else it would stay for as long as the reader likes."""

    async def give_all(scope: object, receive: object, send: Send) -> None:
        del scope, receive
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": 300 * PART})

    Impatient.lost = asyncio.Event()
    came = read(give_all, Impatient, asked, Impatient.lost)
    assert came is None if is_reset else len(came or b"") < 300 * len(PART)


@pytest.mark.parametrize("asked", [ASK, LAST, LAST.replace(b"Connection: close\r\n", b"")])
def test_a_slow_reader_has_all_of_an_answer(asked: bytes) -> None:
    """Its time begins anew whenever it has read something, also where the connection ends with the answer."""
    body = 300 * PART
    ended = asyncio.Event()

    class Watched(Connection):
        stalled_seconds = 0.3

        def _end_timer(self, seconds: float, left: int) -> None:
            super()._end_timer(seconds, left)
            ended.set()

    async def give_all(scope: object, receive: object, send: Send) -> None:
        del scope, receive
        head = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]}
        await send(head)
        await send({"type": "http.response.body", "body": body})

    async def run() -> int:
        async with serve(Watched, give_all) as connect, asyncio.timeout(300):
            reader = await connect(asked)
            await reader.readuntil(b"\r\n\r\n")
            came = 0
            for _ in range(3):
                came += len(await reader.readexactly(len(body) // 5))
                await ended.wait()
                ended.clear()
            return came + len(await reader.readexactly(len(body) - came))

    assert asyncio.run(run()) == len(body)


def test_a_cut_that_shows_leaves_the_client_what_came() -> None:
    """By its length, or the last chunk that is missing: a client goes on from there by a range."""
    newer = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
    assert (read(leave_a_file) or b"").endswith(PART)
    assert (read(leave, asked=newer) or b"").endswith(PART + b"\r\n")


def test_an_answer_that_is_whole_is_no_reset() -> None:
    """And all of it comes."""
    assert (read(finish) or b"").endswith(2 * PART)
