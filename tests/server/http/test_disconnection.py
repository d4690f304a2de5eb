"""Work for a request ends with its client: it is cancelled when the client goes away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from reelport.errors import StorageError
from reelport.server.http.service import run_while_connected


def request(gone: anyio.Event) -> Request:
    """A request whose body has come, and whose client goes away at the event."""
    sent = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> Message:
        if (message := next(sent, None)) is not None:
            return message
        await gone.wait()
        return {"type": "http.disconnect"}

    return Request({"type": "http", "method": "GET", "headers": []}, receive)


def run(work: Callable[[anyio.Event], Awaitable[str]]) -> str:
    """Do work for a request; the work is given what makes the client go away."""

    async def main() -> str:
        gone = anyio.Event()
        with anyio.fail_after(60):
            return await run_while_connected(request(gone), lambda: work(gone))

    return anyio.run(main)


def test_work_of_a_client_that_stays_gives_its_result() -> None:
    """As if nobody watched."""

    async def work(_: anyio.Event) -> str:
        await anyio.lowlevel.checkpoint()
        return "done"

    assert run(work) == "done"


def test_work_is_cancelled_when_its_client_goes_away() -> None:
    """It is stopped where it waits, and what it cleans up is cleaned up."""
    ended: list[str] = []

    async def work(gone: anyio.Event) -> str:
        gone.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("cleaned up")
        return "never"

    with pytest.raises(ClientDisconnect):
        run(work)
    assert ended == ["cleaned up"]


def test_an_error_of_ours_comes_as_it_is() -> None:
    """Not within a group of errors, which no page knows how to tell."""

    async def work(_: anyio.Event) -> str:
        raise StorageError("the disk is gone")

    with pytest.raises(StorageError, match="the disk is gone"):
        run(work)
