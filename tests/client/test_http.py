"""The transports: they say alike what went wrong, and asyncio's may outlive an event loop."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from reelport.client.driving.http import AsyncHttp, Http
from reelport.client.driving.steps import Lost, Request
from reelport.client.driving.transport import AsyncBody


class _Lasting(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer, and keep the connection."""
        self.send_response(200)
        self.send_header("content-length", "2")
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
