"""Transports and step runners: they say alike what went wrong; an answer is read to its end, or given up."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from reelport import AsyncClient, Client, Unreachable
from reelport.client.drivers.http import AsyncHttp, Http
from reelport.client.events import ignore_event
from reelport.client.flows.retry import send
from reelport.client.steps import AsyncBody, Lost, Reply, Request

SIGNING = ("Content-Location", "Link", "Location", "Refresh", "Set-Cookie")


class _Lasting(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer, and keep the connection."""
        self.send_response(200)
        self.send_header("content-length", "2")
        for name in SIGNING:
            self.send_header(name, "https://files.example/a')?signature=s3cret\"),")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    """A server that keeps connections."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Lasting) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


LONG = random.Random(7).randbytes(3_000_000)  # noqa: S311 - any bytes will do


def _send(listener: socket.socket, pieces: Sequence[bytes]) -> None:
    """Answer one request with these pieces, each sent alone, and hang up."""
    connection, _ = listener.accept()
    with connection:
        connection.recv(65536)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(piece)


def _read(pieces: Sequence[bytes]) -> tuple[bytes, Lost | None]:
    """What a client reads of such an answer: its body, and how it was lost."""
    with socket.create_server(("127.0.0.1", 0)) as listener, closing(Http()) as transport:
        threading.Thread(target=_send, args=(listener, pieces), daemon=True).start()
        body = transport.open(Request("GET", f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout=60))
        assert not isinstance(body, Lost)
        with closing(body):
            data = bytearray()
            while piece := body.read():
                if isinstance(piece, Lost):
                    return bytes(data), piece
                data += piece
            assert body.read() == b""
        return bytes(data), None


@pytest.mark.parametrize("beside", [0, 1, 40_000, 100_000])
@pytest.mark.parametrize("framing", ["content-length: 3000000", "transfer-encoding: chunked", "connection: close"])
def test_a_long_body_is_read_whole_however_it_comes(framing: str, beside: int) -> None:
    """With more or less of it beside the head, and however its end is told."""
    head = f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n".encode()
    body = b"2dc6c0\r\n" + LONG + b"\r\n0\r\n\r\n" if "chunked" in framing else LONG
    assert _read([head + body[:beside], body[beside:]]) == (LONG, None)


def test_a_long_body_that_stops_is_lost() -> None:
    """What came before is given, then that its end is missing, with how much there should have been."""
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 3000001\r\n\r\n"
    data, lost = _read([head, LONG])
    assert data == LONG
    assert lost is not None
    assert "received 3000000 bytes, expected 3000001" in lost.reason


def test_both_transports_say_why_there_is_no_connection() -> None:
    """Nobody listens at that port: both twins say so in the system's words."""
    ask = Request("GET", "http://127.0.0.1:9/")

    async def asked() -> AsyncBody | Lost:
        transport = AsyncHttp()
        try:
            return await transport.open(ask)
        finally:
            await transport.close()

    with closing(Http()) as transport:
        assert transport.open(ask) == Lost("Connection refused", sent=False) == asyncio.run(asked())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_client_outlives_an_event_loop(url: str) -> None:
    """A second `asyncio.run` takes up no connection of the first, which is dead although it looks open."""
    transport = AsyncHttp()

    async def asked() -> bytes:
        body = await transport.open(Request("GET", url))
        assert not isinstance(body, Lost)
        chunk = await body.read()
        assert chunk == b"ok"
        assert await body.read() == b""
        await body.close()
        return chunk

    assert [asyncio.run(asked()) for _ in range(3)] == [b"ok"] * 3
    asyncio.run(transport.close())
    gc.collect()  # What a dead loop left open is found here, and not in somebody else's test.


def test_no_header_that_may_sign_a_link_is_logged(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """At its finest the HTTP library logs the headers of answers: those that hold links are taken out whole."""
    caplog.set_level(logging.DEBUG)
    with closing(Http()) as transport:
        body = transport.open(Request("GET", url))
        assert not isinstance(body, Lost)
        body.close()
    assert "content-length" in caplog.text.lower()
    assert "s3cret" not in caplog.text


_HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n"


def _trickle(listener: socket.socket) -> None:
    """Answer each request with some bytes now and then, for as long as somebody reads."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection, suppress(OSError):
            connection.recv(65536)
            connection.sendall(_HEAD + b"\r\n")
            while True:
                connection.sendall(b" ")
                time.sleep(0.01)


@pytest.fixture
def trickling() -> Iterator[str]:
    """A server whose answers never end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_trickle, args=(listener,), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def _send_blocking(url: str, pace: float) -> Reply:
    with Client(url, "key", "secret", ledger=False) as client:
        hasty = client.with_options(pace=pace, patience=0.01)
        return hasty.drive(send(hasty.session, Request("POST", url), ignore_event))


async def _send_async(url: str, pace: float) -> Reply:
    async with AsyncClient(url, "key", "secret", ledger=False) as client:
        hasty = client.with_options(pace=pace, patience=0.01)
        return await hasty.drive(send(hasty.session, Request("POST", url), ignore_event))


def test_an_answer_that_trickles_is_lost(trickling: str) -> None:
    """A byte now and then is never silence: a look at a report would hang for as long as the other side likes."""
    with pytest.raises(Unreachable, match=r"gave no answer: it brought \d+ bytes in "):
        _send_blocking(trickling, 0.1)
    with pytest.raises(Unreachable, match=r"gave no answer: it brought \d+ bytes in "):
        asyncio.run(_send_async(trickling, 0.1))


def test_a_head_that_is_waited_for_is_no_trickle() -> None:
    """A service takes its time until it answers, as a look that waits: only what comes after the first bytes counts."""
    with _answer_once(b"HTTP/1.1 200 OK\r\n", b"content-length: 4\r\n\r\nlate") as url:
        assert _send_blocking(url, 0.001).body == b"late"
    with _answer_once(b"HTTP/1.1 200 OK\r\n", b"content-length: 4\r\n\r\nlate") as url:
        assert asyncio.run(_send_async(url, 0.001)).body == b"late"


def test_an_answer_whose_last_bytes_come_late_is_whole() -> None:
    """What came after the time may be the end: it is taken, and nothing is asked for anew."""
    with _answer_once(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n", b"late") as url:
        assert _send_blocking(url, 0.001).body == b"late"


@contextmanager
def _answer_once(*parts: bytes) -> Iterator[str]:
    """Answer one request, and pause before each part."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                for part in parts:
                    time.sleep(0.05)
                    connection.sendall(part)

        threading.Thread(target=answer, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"


class _Broken:
    """A transport with a defect: it raises what no flow expects."""

    def open(self, _: Request) -> Lost:
        """Fail."""
        raise ValueError("defect")

    def close(self) -> None:
        """Do nothing."""


class _AsyncBroken(_Broken):
    """The same on asyncio."""

    async def open(self, _: Request) -> Lost:  # type: ignore[override]  # awaited
        """Fail."""
        raise ValueError("defect")

    async def close(self) -> None:  # type: ignore[override]  # awaited
        """Do nothing."""


@pytest.mark.parametrize("blocking", [True, False])
def test_an_unexpected_error_names_who_asked_for_the_step(blocking: bool) -> None:
    """A driver's error passes by the frames of its flow: a note on it has them, from the outermost to the step."""
    url, key = "http://127.0.0.1:9", "k"
    if blocking:
        probe = Client(url, key, key, ledger=False, transport=_Broken()).probe
    else:
        twin = AsyncClient(url, key, key, ledger=False, transport=_AsyncBroken())
        probe = lambda: asyncio.run(twin.probe())  # noqa: E731 - the same call
    with pytest.raises(ValueError, match="defect") as caught:
        probe()
    notes = "\n".join(caught.value.__notes__)
    assert notes.startswith("The step was asked for by:\n")
    assert "in probe" in notes
    assert notes.index("in probe") < notes.rindex("auth.py")
