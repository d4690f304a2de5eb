"""Files that go to a connection's socket by sendfile: their bytes and their order, and the limits of their readers."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import ClientDisconnect
from tests.deploy.programs import make_certificate
from tests.server.http.serving import Connect, serve

from reelport.errors import StorageError
from reelport.server.http.connections import Connection
from reelport.server.http.sendfile import find_sendfile
from reelport.storage.local_folder import LocalFile, LocalFolder

SIZE = 24 * 1_048_576
"""Far more than are on their way at once."""
GET = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
GET_AND_CLOSE = b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"
READ_BYTES = 65_536


class Impatient(Connection):
    """Gives a reader a moment to take an answer."""

    stalled_seconds = 0.05


@dataclass
class FileApp:
    """Answers with a file: what sendfile doesn't take is read. Notes what it took, and how each answer ended."""

    path: Path
    sent: list[int] = field(default_factory=list)
    ends: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    length: int = SIZE
    is_told: bool = True

    async def __call__(self, scope: dict[str, Any], receive: object, send: Callable[[object], Any]) -> None:
        """Answer one request."""
        del receive
        headers = [(b"content-length", b"%d" % self.length)] if self.is_told else []
        with closing(LocalFolder(self.path.parent).open(self.path.name)) as file:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            try:
                await self._send(scope, send, file)
            except (ClientDisconnect, StorageError) as error:
                self.ends.put_nowait(type(error).__name__)
                raise
            self.ends.put_nowait("whole")
            await send({"type": "http.response.body", "body": b""})

    async def _send(self, scope: dict[str, Any], send: Callable[[object], Any], file: LocalFile) -> None:
        sendfile, position = find_sendfile(scope), 0
        while position < self.length:
            # More than is left of the answer is asked for, and none of it may be sent.
            sent = await sendfile(file, position, SIZE) if sendfile is not None else 0
            self.sent.append(sent)
            if not sent:
                piece = file.read(position, min(READ_BYTES, self.length - position))
                if not piece:
                    raise StorageError("cut")
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            position += sent or len(piece)
            await asyncio.sleep(0)


@pytest.fixture
def app(tmp_path: Path) -> FileApp:
    """An app that sends a file of the page cache."""
    path = tmp_path / "report.csv"
    path.write_bytes(os.urandom(SIZE))
    with closing(LocalFolder(tmp_path).open(path.name)) as file:
        if not file.read_cached(0, 1):
            pytest.skip("the file system doesn't tell what it has in memory")
    return FileApp(path)


@asynccontextmanager
async def serving(app: FileApp, protocol: type[Connection] = Connection) -> AsyncIterator[Connect]:
    """A way to connect to the app."""
    async with serve(protocol, app) as connect, asyncio.timeout(300):
        yield connect


async def read_answer(reader: asyncio.StreamReader, length: int = SIZE) -> bytes:
    """The body of an answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    return await reader.readexactly(length)


async def first_end(app: FileApp) -> str:
    """How the first answer to end did."""
    return await app.ends.get()


def test_several_readers_get_the_same_bytes_and_none_is_read_by_the_process(app: FileApp) -> None:
    """But for a small piece each time that a reader is waited for."""

    async def run() -> None:
        async with serving(app) as connect:
            readers = [await connect(GET) for _ in range(3)]
            bodies = await asyncio.gather(*map(read_answer, readers))
            assert set(bodies) == {app.path.read_bytes()}

    asyncio.run(run())
    assert sum(app.sent) == 3 * SIZE


def test_requests_that_follow_on_the_connection_are_answered_in_turn(app: FileApp) -> None:
    """Two that come at once, and one after both."""

    async def run() -> None:
        async with serving(app) as connect:
            reader = await connect(GET + GET)
            assert await read_answer(reader) == await read_answer(reader) == app.path.read_bytes()
            connect.writers[-1].write(GET)
            assert await read_answer(reader) == app.path.read_bytes()

    asyncio.run(run())
    assert sum(app.sent) == 3 * SIZE


def test_a_reader_that_stands_still_is_ended_in_time(app: FileApp) -> None:
    """Its answer breaks off, and the app is told; another reader has all of it."""

    async def run() -> None:
        async with serving(app, Impatient) as connect:
            stalled = await connect(GET)
            await stalled.readuntil(b"\r\n\r\n")
            assert await first_end(app) == "ClientDisconnect"
            assert await read_answer(await connect(GET)) == app.path.read_bytes()
            assert len(await drained(stalled)) < SIZE

    asyncio.run(run())


async def drained(reader: asyncio.StreamReader) -> bytes:
    """What comes until the connection is over."""
    got = bytearray()
    try:
        while piece := await reader.read(READ_BYTES):
            got += piece
    except ConnectionError:
        pass
    return bytes(got)


def test_what_waits_for_readers_is_counted(app: FileApp) -> None:
    """The few bytes by which it is seen that a reader goes on; too many end the one that waits longest."""

    class Small(Connection):
        unsent_bytes = 6000

    async def run() -> None:
        async with serving(app, Small) as connect:
            readers = [await connect(GET_AND_CLOSE) for _ in range(2)]
            for reader in readers:
                await reader.readuntil(b"\r\n\r\n")
            assert await first_end(app) == "ClientDisconnect"
            rests = [len(await drained(reader)) for reader in readers]
            assert min(rests) < max(rests) == SIZE

    asyncio.run(run())


@pytest.mark.parametrize("lingering", [False, True], ids=["closes", "resets"])
def test_a_reader_that_goes_away_ends_the_answer(app: FileApp, lingering: bool) -> None:
    """Within the file, and without an error of the server's."""

    async def run() -> None:
        async with serving(app) as connect:
            reader = await connect(GET)
            await reader.readuntil(b"\r\n\r\n")
            if lingering:
                own: socket.socket = connect.writers[-1].get_extra_info("socket")
                own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connect.writers[-1].transport.abort()
            assert await first_end(app) == "ClientDisconnect"

    asyncio.run(run())
    assert sum(app.sent) < SIZE


def test_a_file_that_is_cut_short_ends_its_answer_early(app: FileApp) -> None:
    """While its reader waits: it never gets as many bytes as were told."""

    async def run() -> None:
        async with serving(app) as connect:
            reader = await connect(GET)
            await reader.readuntil(b"\r\n\r\n")
            os.truncate(app.path, SIZE // 2)
            assert len(await drained(reader)) < SIZE
            assert await first_end(app) == "StorageError"

    asyncio.run(run())


def test_no_more_is_sent_than_the_answer_tells(app: FileApp) -> None:
    """Whatever the app asks for: the next answer begins right behind."""
    app.length = 100_001

    async def run() -> None:
        async with serving(app) as connect:
            reader = await connect(GET + GET)
            for _ in range(2):
                assert await read_answer(reader, app.length) == app.path.read_bytes()[: app.length]

    asyncio.run(run())
    assert sum(app.sent) == 2 * app.length


def test_an_answer_without_a_length_and_one_to_head_are_sent_as_ever(app: FileApp) -> None:
    """What goes around the file's bytes, or in their place, isn't in the file."""
    app.is_told, app.length = False, 100_000

    async def run() -> None:
        async with serving(app) as connect:
            head = await connect(b"HEAD / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
            assert (await head.read()).endswith(b"\r\n\r\n")
            chunked = await (await connect(GET_AND_CLOSE)).read()
            assert b"chunked" in chunked
            assert chunked.endswith(b"\r\n0\r\n\r\n")

    asyncio.run(run())
    assert sum(app.sent) == 0


def test_a_file_that_is_partly_in_memory_arrives_whole(app: FileApp) -> None:
    """What isn't there is read by the app, which may wait for a disk without keeping others waiting."""
    with app.path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        content = file.read()
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        os.pread(file.fileno(), 1_000_000, SIZE // 2)

    async def run() -> None:
        async with serving(app) as connect:
            assert await read_answer(await connect(GET)) == content

    asyncio.run(run())


def test_nothing_goes_past_tls(app: FileApp, tmp_path: Path) -> None:
    """The reader has the file, encrypted as ever."""
    certificate = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.load_cert_chain(make_certificate(tmp_path, "here"), tmp_path / "privkey.pem")
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE

    async def run() -> None:
        async with serve(Connection, app, certificate, trust) as connect, asyncio.timeout(300):
            assert await read_answer(await connect(GET)) == app.path.read_bytes()

    asyncio.run(run())
    assert sum(app.sent) == 0
