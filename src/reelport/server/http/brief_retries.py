"""ASGI middleware: requests wait only briefly for an object store that is away."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from reelport.storage.retries import BRIEF_SECONDS, retry_for


class BriefRetries:
    """Bounds the retries of stores that a request opens: it holds a thread while it waits."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with retry_for(BRIEF_SECONDS):
            await self._app(scope, receive, send)
