"""Asks the API as a web server does that sends files by itself."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from starlette.types import Message
from tests.server.api import Api

from reelport.server.http.sendfile import offer_sendfile
from reelport.storage.file_store import OpenFile


def ask_with_sendfile(
    api: Api, link: str, method: str, headers: dict[str, str]
) -> tuple[list[tuple[int, int]], list[Message]]:
    """What a server is asked to send, which takes ten bytes at a time, and what goes through it besides."""
    asked: list[tuple[int, int]] = []
    messages: list[Message] = []
    place = urlsplit(link)
    scope = {"type": "http", "method": method, "path": place.path, "query_string": place.query.encode()}
    scope["headers"] = [(name.encode(), text.encode()) for name, text in headers.items()]

    async def send_file(_: OpenFile, position: int, count: int) -> int:
        asked.append((position, count))
        return min(count, 10)

    async def receive() -> Message:
        await asyncio.sleep(0)
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        messages.append(message)

    offer_sendfile(scope, send_file)
    portal = api.client.portal
    assert portal is not None
    portal.call(api.client.app, scope, receive, send)
    return asked, messages
