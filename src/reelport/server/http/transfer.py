"""Sends an open report file, or a part of it, piece by piece.

Between pieces it sees whether the client is still there, and whether the URL's key may still read the report. It takes
little memory, however slow its client is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import anyio
import anyio.to_thread
import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from reelport.errors import StorageError
from reelport.server.http.service import Service
from reelport.server.limits.download_slots import RunningDownload
from reelport.spreadsheet_guard import SpreadsheetGuard
from reelport.storage.file_store import OpenFile

_LOG = structlog.get_logger(__name__)
_CHUNK_BYTES = 131_072
"""Bytes read and sent at once: half as many take a third more CPU. A stalled client keeps one chunk in memory and one
in the write buffer."""
_CHUNKS_PER_CHECK = 8
"""Chunks between two checks whether the client is still connected."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """The part of an open file to send, and what to release afterwards: the slots and the file."""

    service: Service
    content: OpenFile
    is_allowed: Callable[[], bool]
    """Whether the URL's key may still read the report. Blocks: it reads the state."""
    first: int
    length: int
    running: RunningDownload
    resources: ExitStack
    guard: SpreadsheetGuard | None = None
    """Guards the file's cells for a spreadsheet."""


class Download(Response):
    """A response that sends a part of an open file and always closes the file."""

    def __init__(self, status: int, headers: dict[str, str], transfer: Transfer) -> None:
        super().__init__(None, status, headers)
        if "Content-Length" not in headers:
            # The base class takes a body that isn't there yet for an empty one.
            del self.headers["Content-Length"]
        self._transfer = transfer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the part of the file; stop when the client disconnects."""
        with self._transfer.resources:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if scope["method"] == "HEAD" or not self._transfer.length:
                await send({"type": "http.response.body", "body": b""})
                return
            running = self._transfer.running
            with anyio.CancelScope() as sending:
                running.set_stop(sending.cancel)
                await self._send_chunks(Request(scope, receive), send)
            if running.ended:
                # No end of the body either: the client sees that the file is incomplete.
                _LOG.warning("a slow download ends early: a new one needs its place", report=running.report_id)

    async def _send_chunks(self, request: Request, send: Send) -> None:
        position, end = self._transfer.first, self._transfer.first + self._transfer.length
        pause = self._transfer.service.settings.recheck_seconds
        allowed_until = time.monotonic() + pause
        count = 0
        while position < end:
            if count % _CHUNKS_PER_CHECK == 0 and await request.is_disconnected():
                # The web server drops what is sent after a disconnect: the rest of the file would be read in vain.
                raise ClientDisconnect
            if time.monotonic() > allowed_until:
                if not await self._is_still_allowed():
                    # No end of the body: the client sees that the file is incomplete.
                    return
                allowed_until = time.monotonic() + pause
            count += 1
            chunk = await _read_chunk(self._transfer.content, min(_CHUNK_BYTES, end - position), position)
            position += len(chunk)
            body = await self._guard(chunk, is_last=position == end)
            if body or position == end:
                await send({"type": "http.response.body", "body": body, "more_body": position < end})
            self._transfer.service.metrics.sent_bytes.inc(len(body))
            self._transfer.running.count(len(chunk))

    async def _guard(self, chunk: bytes, *, is_last: bool) -> bytes:
        """Guard a chunk in a thread, where a spreadsheet will open the file."""
        guard = self._transfer.guard
        if guard is None:
            return chunk
        return await anyio.to_thread.run_sync(
            lambda: guard.feed(chunk) + (guard.flush() if is_last else b""),
            limiter=self._transfer.service.guards,
        )

    async def _is_still_allowed(self) -> bool:
        """Whether the URL's key may read the report; revoking it ends running downloads."""
        if await anyio.to_thread.run_sync(self._transfer.is_allowed):
            return True
        report = self._transfer.running.report_id
        _LOG.warning("a download ends early: its key may not read the report any more", report=report)
        return False


async def _read_chunk(content: OpenFile, count: int, position: int) -> bytes:
    """Read a chunk: directly when that needs no waiting, else in a thread."""
    chunk = content.read_cached(position, count)
    if chunk is None:
        chunk = await anyio.to_thread.run_sync(content.read, position, count)
    else:
        # Yield to other requests: a fast client and a cached file would never wait otherwise.
        await asyncio.sleep(0)
    if not chunk:
        # Shorter than when it was opened: closing early shows the client that the file is incomplete.
        raise StorageError("A finished file was cut while it was sent.")
    return chunk
