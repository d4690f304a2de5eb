"""Slow connections: each ends in time, and makes room when there are too many."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import pytest
from tests import forked
from tests.server.http.serving import Connect, serve

from reelport.server.http.connections import Connection

LONG = 32 * 1_048_576
"""Bytes of an answer: far more than are on their way at once."""
HEAD = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\n\r\n"


class Hasty(Connection):
    """Gives a request a moment to come."""

    request_seconds = 0.05


class Impatient(Connection):
    """Gives a reader a moment to take an answer."""

    stalled_seconds = 0.05


class Few(Connection):
    """Of which there are at most two."""

    max_connections = 2


async def app(scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[object], Any]) -> None:
    while (await receive()).get("more_body"):
        pass
    body = bytes(LONG) if scope["path"] == "/long" else b"ok"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await asyncio.sleep(2 * Hasty.request_seconds)
    half = len(body) // 2
    await send({"type": "http.response.body", "body": body[:half], "more_body": True})
    await send({"type": "http.response.body", "body": body[half:]})


def served(protocol: type[Connection], application: object = app) -> AbstractAsyncContextManager[Connect]:
    """A way to connect to a server with that protocol, and to send something."""
    return serve(protocol, application)


async def hear(connect: Connect, request: bytes, end: bytes) -> asyncio.StreamReader:
    """A connection whose answer came up to these bytes. Where the machine was too busy to bring a request: again."""
    while True:
        reader = await connect(request)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(end)
            return reader


async def read_rest(reader: asyncio.StreamReader) -> bytes:
    """What comes until the end of a connection, which is a reset where the server had not read all."""
    try:
        return await reader.read()
    except ConnectionError:
        return b""


def test_a_request_that_does_not_come_whole_in_time_ends_its_connection() -> None:
    """Nothing at all, half a head and half a body are cut off; an answer may take as long as it takes."""

    async def run() -> None:
        async with served(Hasty) as connect, asyncio.timeout(300):
            slow = [await connect(part) for part in (b"", HEAD[:9], HEAD + b"ab")]
            assert [await read_rest(reader) for reader in slow] == [b"", b"", b""]
            whole = await hear(connect, HEAD + b"abcd", b"\r\n\r\nok")
            assert await read_rest(whole) == b""

    asyncio.run(run())


def test_the_slowest_connection_makes_room_for_a_new_one() -> None:
    """Beyond the number that may be, the one that has brought its request for the longest ends, and no answer does."""

    async def run() -> None:
        async with served(Few) as connect, asyncio.timeout(300):
            answered = await connect(HEAD + b"abcd")
            assert (await answered.readline()).startswith(b"HTTP/1.1 200")
            slow = await connect(HEAD)
            new = await connect(HEAD + b"abcd")
            assert await slow.read() == b""
            assert (await answered.readuntil(b"ok")).endswith(b"ok")
            assert (await new.readuntil(b"ok")).startswith(b"HTTP/1.1 200")

    asyncio.run(run())


@pytest.mark.parametrize(
    ("target", "seen"),
    [
        ("/a?b=http://c/d", "here /a b=http://c/d"),
        ("http://there:8642/a%20b?c=d", "there:8642 /a b c=d"),
        ("HTTPS://there", "there / "),
        ("http://there?c=d", "there / c=d"),
        ("ftp://there/a", "here ftp://there/a "),
    ],
)
def test_a_whole_address_is_read_as_its_host_and_path(target: str, seen: str) -> None:
    """As a proxy may send it: the host in the target counts, and not the one of the header (RFC 9112, 3.2.2)."""

    async def tell(scope: dict[str, Any], _: Callable[[], Any], send: Callable[[object], Any]) -> None:
        (host,) = (value for name, value in scope["headers"] if name == b"host")
        body = f"{host.decode()} {scope['path']} {scope['query_string'].decode()}".encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    async def run() -> None:
        async with serve(Connection, tell) as connect, asyncio.timeout(300):
            answered = await connect(f"GET {target} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n".encode())
            assert (await answered.read()).endswith(f"\r\n\r\n{seen}".encode())

    asyncio.run(run())


@pytest.mark.parametrize("protocol", [Impatient, Few])
def test_a_reader_that_takes_nothing_ends_in_time_and_makes_room(protocol: type[Connection]) -> None:
    """Its answer breaks off short of its length: after a time, or when its connection is needed before."""

    async def run() -> None:
        lost = asyncio.Event()

        class Told(protocol):  # type: ignore[valid-type, misc]  # one of the two
            def connection_lost(self, exc: Exception | None) -> None:
                lost.set()
                super().connection_lost(exc)

        async with served(Told) as connect, asyncio.timeout(300):
            stalled = await connect(b"GET /long HTTP/1.1\r\nHost: here\r\n\r\n")
            await stalled.readuntil(b"\r\n\r\n")
            for _ in range(2):
                assert await (await connect(HEAD + b"abcd")).readuntil(b"ok")
            await lost.wait()
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await stalled.readexactly(LONG)
                pytest.fail("all of the answer came")

    asyncio.run(run())


def test_the_time_for_a_request_is_none_for_the_end_of_an_answer() -> None:
    """A reader that takes an answer late has all of it, however soon a next request would have to come."""

    async def run() -> None:
        async with served(Hasty) as connect, asyncio.timeout(300):
            late = await hear(connect, b"GET /long HTTP/1.1\r\nHost: here\r\n\r\n", b"\r\n\r\n")
            await late.readexactly(LONG // 2 + 1)
            await hear(connect, HEAD + b"abcd", b"ok")
            assert len(await late.readexactly(LONG // 2 - 1)) == LONG // 2 - 1

    asyncio.run(run())


BOTH = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"


def test_a_length_and_chunks_together_end_the_connection() -> None:
    """400, and what follows is never looked at: it may be a request that was smuggled past a proxy."""

    async def run() -> None:
        async with served(Connection) as connect, asyncio.timeout(300):
            for order in (
                BOTH,
                BOTH.replace(b"Content-Length: 4\r\n", b"").replace(b"\r\n\r\n0", b"\r\ncontent-length: 4\r\n\r\n0"),
            ):
                answer = await (await connect(order + HEAD + b"abcd")).read()
                assert answer.startswith(b"HTTP/1.1 400")
                assert answer.count(b"HTTP/1.1") == 1

    asyncio.run(run())


def test_a_head_that_is_far_too_long_is_answered() -> None:
    """However much of it is still to come: an answer that is reset on its way is none."""

    async def run() -> None:
        async with served(Connection) as connect, asyncio.timeout(300):
            reader = await connect(b"GET / HTTP/1.1\r\nX: " + b"x" * 2_000_000)
            assert (await reader.readline()).startswith(b"HTTP/1.1 400")

    asyncio.run(run())


def test_a_body_that_nobody_reads_stays_with_its_caller() -> None:
    """A piece of it is taken; the rest waits in the system, and comes when it is asked for."""
    asked = asyncio.Event()
    seen: list[int] = []

    async def reading(scope: object, receive: Callable[[], Any], send: Callable[[object], Any]) -> None:
        del scope
        await asked.wait()
        while (message := await receive())["type"] == "http.request":
            seen.append(len(message["body"]))
            if not message["more_body"]:
                break
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async def run() -> None:
        async with served(Connection, reading) as connect, asyncio.timeout(300):
            reader = await connect(
                b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 1000000\r\n\r\n" + bytes(1_000_000)
            )
            await asyncio.sleep(0.2)
            asked.set()
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        assert sum(seen) == 1_000_000
        assert max(seen) <= 65_536

    asyncio.run(run())


CHUNKED = b"POST %s HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"
TINY = b"1\r\n \r\n"


@dataclass
class Parsed:
    """What a connection has taken apart."""

    events: int = 0
    most: int = 0
    """Events of one call that brings bytes."""


def counting(parsed: Parsed, **limits: object) -> type[Connection]:
    """Connections that count what they take apart."""

    class Counting(Connection):
        def data_received(self, data: bytes) -> None:
            before = parsed.events
            super().data_received(data)
            parsed.most = max(parsed.most, parsed.events - before)

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            following = self.conn.next_event

            def counted() -> Any:  # noqa: ANN401 - as h11 has it
                parsed.events += 1
                return following()

            self.conn.next_event = counted  # type: ignore[method-assign]

    return type("Counting", (Counting,), limits)


async def at_once(scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[object], Any]) -> None:
    """Answers before any of the body is asked for."""
    del receive
    headers = [(b"content-length", b"2")]
    status = 401 if scope["path"] == "/" else 200
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


async def flood(connect: Connect, head: bytes, piece: bytes, most: int) -> bytes:
    """The answer to a head that so many bytes of pieces follow, or as many as are taken."""
    reader = await connect(head + piece)
    answer = await reader.read()
    writer = connect.writers[-1]
    with contextlib.suppress(ConnectionError):
        for _ in range(most // len(piece)):
            writer.write(piece)
            await writer.drain()
    return answer


@pytest.mark.parametrize("application", [app, at_once], ids=["before the answer", "after it"])
def test_a_body_of_tiny_chunks_is_taken_apart_no_further_than_some_hundred(application: object) -> None:
    """Neither in one go nor in all, however many follow; its caller has its answer, and the connection is over."""
    parsed = Parsed()

    async def run() -> None:
        async with served(counting(parsed), application) as connect, asyncio.timeout(300):
            answer = await flood(connect, CHUNKED % b"/", TINY * 2500, 4_000_000)
        assert answer.split()[1] in {b"400", b"401"}
        assert b"connection: close" in answer.lower()

    asyncio.run(run())
    assert parsed.most < 300
    assert parsed.events < 600


def test_a_body_of_tiny_chunks_is_told_what_to_change() -> None:
    """400 with a sentence; long frames around small chunks have one of their own."""

    async def run() -> None:
        async with served(Connection) as connect, asyncio.timeout(300):
            tiny = await (await connect(CHUNKED % b"/" + TINY * 300)).read()
            assert tiny.endswith(b"too many small chunks: send at least 256 bytes in each.")
            extended = await (await connect(CHUNKED % b"/" + (b"1;" + b"x" * 2000 + b"\r\n \r\n") * 50)).read()
            assert extended.endswith(b"send no extensions of chunks.")

    asyncio.run(run())


def test_a_body_of_chunks_that_are_worth_it_is_taken() -> None:
    """Small ones as well, up to some hundred, and any number of larger ones; the connection goes on."""

    async def run() -> None:
        async with served(Connection) as connect, asyncio.timeout(300):
            for chunks in (TINY * 190, (b"100\r\n" + b"x" * 256 + b"\r\n") * 4000):
                reader = await connect(2 * (CHUNKED % b"/" + chunks + b"0\r\n\r\n"))
                for _ in range(2):
                    assert (await reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200")

    asyncio.run(run())


@pytest.mark.parametrize("close", [b"", b"Connection: close\r\n"])
def test_an_answer_before_the_end_of_the_body_is_seen_by_a_caller_who_sends_on(close: bytes) -> None:
    """It says that it is the last one; what the caller has still to send doesn't take it away."""

    async def run() -> None:
        async with served(Connection, at_once) as connect, asyncio.timeout(300):
            head = HEAD.replace(b"Content-Length: 4\r\n", close + b"Content-Length: 4000000\r\n")
            reader = await connect(head + bytes(4_000_000))
            await connect.writers[-1].drain()
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 401")
            assert answer.lower().count(b"connection: close") == 1
            assert answer.endswith(b"ok")

    asyncio.run(run())


def test_a_body_without_end_ends_its_connection_after_so_many_bytes() -> None:
    """Though its caller never stops sending it, and never closes."""
    thrown: list[int] = []
    over = asyncio.Event()

    class Seen(Connection):
        def connection_lost(self, exc: Exception | None) -> None:
            thrown.append(self._discarded)
            over.set()
            super().connection_lost(exc)

    async def run() -> None:
        async with served(Seen, at_once) as connect, asyncio.timeout(300):
            await flood(connect, CHUNKED % b"/", b"10000\r\n" + bytes(65_536) + b"\r\n", 64 * 1_048_576)
            await over.wait()
        assert 16 * 1_048_576 < thrown[0] < 17 * 1_048_576

    asyncio.run(run())


def test_too_much_that_waits_for_readers_ends_the_one_that_waits_longest() -> None:
    """The others have all of theirs."""

    class Small(Connection):
        unsent_bytes = LONG

    async def run() -> None:
        async with served(Small) as connect, asyncio.timeout(300):
            readers = [await connect(b"GET /long HTTP/1.1\r\nHost: here\r\n\r\n") for _ in range(3)]
            for reader in readers:
                await reader.readuntil(b"\r\n\r\n")
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await readers[0].readexactly(LONG)
            assert len(await readers[2].readexactly(LONG)) == LONG

    asyncio.run(run())


def test_too_few_open_files_are_told_and_more_are_taken_where_they_may_be() -> None:
    """With 64 it doesn't begin, with few it has few connections, and its own limit is raised as far as it may be."""
    code = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, tuple(map(int, sys.argv[1:])))
from reelport.server.http.connections import Connection
from reelport.server.doctor.start_checks import raise_open_files
from reelport.server.settings import read_settings
connections = Connection.limited(raise_open_files())
print(connections.max_connections, *resource.getrlimit(resource.RLIMIT_NOFILE))
"""
    few, raised, none = (
        forked.run(["-c", code, *limits], loads=forked.COMMANDS)
        for limits in (("256", "256"), ("256", "1024"), ("64", "64"))
    )
    assert few.stdout.split() == ["78", "256", "256"]
    assert raised.stdout.split() == ["462", "1024", "1024"]
    assert none.returncode
    assert "may have 64 open files" in none.stderr
