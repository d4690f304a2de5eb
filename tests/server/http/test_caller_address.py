"""Which address a caller has."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from reelport.server.http.connections import Connection


def test_a_caller_has_one_address_at_a_socket_of_both_versions() -> None:
    """There IPv4 addresses come as IPv6 ones, those of trusted proxies and those that proxies forward too."""
    seen: list[tuple[str, str]] = []

    async def show(scope: dict[str, Any], _receive: object, send: Callable[[object], Any]) -> None:
        seen.append((scope["client"][0], scope["scheme"]))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def run() -> None:
        config = uvicorn.Config(show, log_config=None, lifespan="off", forwarded_allow_ips="127.0.0.1")
        config.load()
        state, loop = ServerState(), asyncio.get_running_loop()
        with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
            port = listener.getsockname()[1]
            server = await loop.create_server(lambda: Connection(config, state, {}), sock=listener)
            for header in (b"", b"X-Forwarded-Proto: https\r\nX-Forwarded-For: 192.0.2.7\r\n"):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n" + header + b"\r\n")
                assert b" 204 " in await reader.readuntil(b"\r\n\r\n")
                writer.close()
            server.close()

    asyncio.run(run())
    assert seen == [("127.0.0.1", "http"), ("192.0.2.7", "https")]
