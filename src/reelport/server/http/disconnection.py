"""Ends work for a request as soon as its client goes away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
from starlette.requests import ClientDisconnect, Request

from reelport.errors import ReelportError

Result = TypeVar("Result")


async def cancel_when_gone(request: Request, scope: anyio.CancelScope) -> None:
    """Cancel a scope when the request's client goes away. Read the request's body before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def run_while_connected(request: Request, work: Callable[[], Awaitable[Result]]) -> Result:
    """Do work until the request's client goes away: then cancel it, and raise ClientDisconnect."""
    results: list[Result] = []
    # Kept, since a task group would raise it within a group.
    failures: list[ReelportError] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(cancel_when_gone, request, tasks.cancel_scope)
        try:
            results.append(await work())
        except ReelportError as error:
            failures.append(error)
        tasks.cancel_scope.cancel()
    if failures:
        raise failures[0]
    if not results:
        raise ClientDisconnect
    return results[0]
