"""Serves an app of a test by the service's own connections, on a free port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

import uvicorn
from uvicorn.server import ServerState

from reelport.server.http.connections import Connection


class Connect(Protocol):
    """Connects to the server and sends something; keeps the ends that write."""

    writers: list[asyncio.StreamWriter]

    async def __call__(self, data: bytes, /) -> asyncio.StreamReader:
        """Connect, and send this first."""


@asynccontextmanager
async def serve(
    protocol: type[Connection],
    application: Any,  # noqa: ANN401 - ASGI
) -> AsyncIterator[Connect]:
    """A way to connect to a server with that protocol, and to send something."""
    config = uvicorn.Config(application, log_config=None, lifespan="off")
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

    connect.writers = writers  # type: ignore[attr-defined]
    yield connect  # type: ignore[misc]
    for writer in writers:
        writer.close()
    server.close()
