"""Slow connections: each ends in time, and makes room when there are too many."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from reelport.server.connections import Connection

LONG = 32 * 1_048_576
"""Bytes of an answer: far more than are on their way at once."""
HEAD = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\n\r\n"
Connect = Callable[[bytes], Coroutine[Any, Any, asyncio.StreamReader]]


class Hasty(Connection):
    """Gives a request a moment to come."""

    seconds = 0.05


class Impatient(Connection):
    """Gives a reader a moment to take an answer."""

    stalled_seconds = 0.05


class Few(Connection):
    """Of which there are at most two."""

    most = 2


async def app(scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[object], Any]) -> None:
    while (await receive()).get("more_body"):
        pass
    body = bytes(LONG) if scope["path"] == "/long" else b"ok"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await asyncio.sleep(2 * Hasty.seconds)
    half = len(body) // 2
    await send({"type": "http.response.body", "body": body[:half], "more_body": True})
    await send({"type": "http.response.body", "body": body[half:]})


@asynccontextmanager
async def served(protocol: type[Connection]) -> AsyncIterator[Connect]:
    """A way to connect to a server with that protocol, and to send something."""
    config = uvicorn.Config(app, log_config=None, lifespan="off")
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: protocol(config, state, {}), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    writers = []

    async def connect(data: bytes) -> asyncio.StreamReader:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writers.append(writer)
        writer.write(data)
        return reader

    yield connect
    for writer in writers:
        writer.close()
    server.close()


def test_a_request_that_does_not_come_whole_in_time_ends_its_connection() -> None:
    """Nothing at all, half a head and half a body are cut off; an answer may take as long as it takes."""

    async def run() -> None:
        async with served(Hasty) as connect, asyncio.timeout(10):
            slow = [await connect(part) for part in (b"", HEAD[:9], HEAD + b"ab")]
            assert [await reader.read() for reader in slow] == [b"", b"", b""]
            whole = await connect(HEAD + b"abcd")
            assert (await whole.read()).endswith(b"\r\n\r\nok")

    asyncio.run(run())


def test_the_slowest_connection_makes_room_for_a_new_one() -> None:
    """Beyond the number that may be, the one that has brought its request for the longest ends, and no answer does."""

    async def run() -> None:
        async with served(Few) as connect, asyncio.timeout(10):
            answered = await connect(HEAD + b"abcd")
            assert (await answered.readline()).startswith(b"HTTP/1.1 200")
            slow = await connect(HEAD)
            new = await connect(HEAD + b"abcd")
            assert await slow.read() == b""
            assert (await answered.readuntil(b"ok")).endswith(b"ok")
            assert (await new.readuntil(b"ok")).startswith(b"HTTP/1.1 200")

    asyncio.run(run())


@pytest.mark.parametrize("protocol", [Impatient, Few])
def test_a_reader_that_takes_nothing_ends_in_time_and_makes_room(protocol: type[Connection]) -> None:
    """Its answer breaks off short of its length: after a time, or when its connection is needed before."""

    async def run() -> None:
        async with served(protocol) as connect, asyncio.timeout(10):
            stalled = await connect(b"GET /long HTTP/1.1\r\nHost: here\r\n\r\n")
            await stalled.readuntil(b"\r\n\r\n")
            for _ in range(2):
                assert await (await connect(HEAD + b"abcd")).readuntil(b"ok")
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await stalled.readexactly(LONG)
                pytest.fail("all of the answer came")

    asyncio.run(run())


def test_the_time_for_a_request_is_none_for_the_end_of_an_answer() -> None:
    """A reader that takes an answer late has all of it, however soon a next request would have to come."""

    async def run() -> None:
        async with served(Hasty) as connect, asyncio.timeout(10):
            late = await connect(b"GET /long HTTP/1.1\r\nHost: here\r\n\r\n")
            await late.readuntil(b"\r\n\r\n")
            await late.readexactly(LONG // 2 + 1)
            assert await (await connect(HEAD + b"abcd")).readuntil(b"ok")
            assert len(await late.readexactly(LONG // 2 - 1)) == LONG // 2 - 1

    asyncio.run(run())
