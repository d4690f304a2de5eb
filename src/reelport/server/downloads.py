"""A finished file over HTTP: by signed link alone, whole or one range of it, from a file that stays open.

Once a download has begun it ends whole, even when the report expires meanwhile.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import anyio.to_thread
import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from reelport.errors import StorageError
from reelport.server import files, reports
from reelport.server.files import FileRecord
from reelport.server.reports import NoFile
from reelport.server.service import Service
from reelport.wire import ROWS_HEADER

_LOG = structlog.get_logger(__name__)
_PIECE = 1_048_576
"""What is read and sent at once: smaller pieces cost more hops between threads, larger ones memory a reader."""
_RANGE = re.compile(r"bytes\s*=\s*([0-9]{0,18})\s*-\s*([0-9]{0,18})\s*", re.IGNORECASE)
_SAFE = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


@dataclass(frozen=True, slots=True)
class _Refused:
    """Why there is no file; the sentence says what to do."""

    status: int
    error: str
    description: str


_NO_LINK = _Refused(403, "link_not_valid", "The link is over or isn't ours: look at the report again for a fresh one.")
_GONE = _Refused(410, "report_expired", "The report's time is over and its file is gone: ask for it again.")
_AWAY = _Refused(503, "temporarily_unavailable", "The service can't read its state or its files now: try again.")
_DAMAGED = _Refused(500, "internal_error", "The file isn't what its record says: ask for the report again.")


@dataclass(frozen=True, slots=True)
class _Opened:
    """A file that is open and has the length that its record says."""

    record: FileRecord
    descriptor: int


async def download(request: Request) -> Response:
    """Answer a GET or HEAD of a link."""
    service: Service = request.app.state.service
    query = request.query_params
    signature = tuple(query.get(name, "") for name in ("key", "expires", "signature"))
    found = await anyio.to_thread.run_sync(_open, service, request.path_params["report_id"], signature)
    if isinstance(found, _Refused):
        body = {"error": found.error, "error_description": found.description}
        return JSONResponse(body, found.status, headers={**_SAFE, "Cache-Control": "no-store"})
    tag = f'"{found.record.sha256}"'
    headers = {
        **_SAFE,
        "ETag": tag,
        ROWS_HEADER: str(found.record.rows),
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-transform",
        "Content-Type": "text/csv; charset=utf-8",
        "Content-Disposition": f'attachment; filename="{request.path_params["report_id"]}.csv"',
    }
    status, first, length = _part(request, tag, found.record.bytes)
    if status in {206, 416}:
        held = f"{first}-{first + length - 1}" if status == 206 else "*"  # noqa: PLR2004 - a status of HTTP
        headers["Content-Range"] = f"bytes {held}/{found.record.bytes}"
    if status not in {200, 206}:
        os.close(found.descriptor)
        return Response(status_code=status, headers=headers)
    return _Download(status, headers, found.descriptor, first, length, service)


def _open(service: Service, report_id: str, signed: tuple[str, ...]) -> _Opened | _Refused:
    now = datetime.now(UTC)
    key_id, expires, signature = signed
    if not files.signed(service.seal, report_id, key_id, expires, signature, now):
        return _NO_LINK
    try:
        found = reports.finished_file(service.db, report_id, key_id, now)
    except StorageError:
        _LOG.exception("the state can't be used")
        return _AWAY
    match found:
        case NoFile.WITHDRAWN:
            return _NO_LINK
        case NoFile.OVER:
            return _GONE
    return _opened(files.path(service.settings, found.name), found)


def _opened(path: Path, record: FileRecord) -> _Opened | _Refused:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        _LOG.error("a finished file is missing", file=record.name)
        # Where not even its folder is there, it is a disk that is away: the report's time isn't over.
        return _GONE if path.parent.is_dir() else _AWAY
    except OSError:
        _LOG.exception("a finished file can't be read", file=record.name)
        return _AWAY
    if os.fstat(descriptor).st_size != record.bytes:
        os.close(descriptor)
        _LOG.error("a finished file has another length than its record", file=record.name)
        return _DAMAGED
    return _Opened(record, descriptor)


def _part(request: Request, tag: str, size: int) -> tuple[int, int, int]:
    """The status, the first byte and the length of what is sent: conditions first, then the range (RFC 9110)."""
    match_, none_match = request.headers.get("if-match"), request.headers.get("if-none-match")
    if match_ is not None and not _names(match_, tag):
        return 412, 0, 0
    if none_match is not None and _names(none_match, tag):
        return 304, 0, 0
    wanted = request.headers.get("range")
    if_range = request.headers.get("if-range")
    if wanted is None or request.method != "GET" or (if_range is not None and if_range.strip() != tag):
        return 200, 0, size
    return _range(wanted, size)


def _names(header: str, tag: str) -> bool:
    return header.strip() == "*" or tag in (each.strip().removeprefix("W/") for each in header.split(",", 50))


def _range(header: str, size: int) -> tuple[int, int, int]:
    """One range is honoured; several, or what is no range at all, count as none."""
    found = _RANGE.fullmatch(header.strip()) if len(header) < 100 else None  # noqa: PLR2004 - one range is short
    if found is None or not any(found.groups()):
        return 200, 0, size
    start, end = found.groups()
    if not start:
        first, last = max(size - int(end), 0), size - 1
    else:
        first, last = int(start), min(int(end), size - 1) if end else size - 1
        if end and int(end) < first:
            return 200, 0, size
    return (206, first, last - first + 1) if first <= last else (416, 0, 0)


class _Download(Response):
    """Sends a part of an open file, and closes it whatever happens."""

    def __init__(
        self, status: int, headers: dict[str, str], descriptor: int, first: int, length: int, service: Service
    ) -> None:
        super().__init__(None, status, headers)
        self.headers["Content-Length"] = str(length)
        self._descriptor = descriptor
        self._first = first
        self._length = length
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; a reader who goes away ends it."""
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if scope["method"] == "HEAD" or not self._length:
                await send({"type": "http.response.body", "body": b""})
                return
            await self._pieces(Request(scope, receive), send)
        finally:
            os.close(self._descriptor)

    async def _pieces(self, request: Request, send: Send) -> None:
        at, end = self._first, self._first + self._length
        while at < end:
            if await request.is_disconnected():
                # The web server takes what is sent to nobody without a word: the rest of the file would be read for it.
                raise ClientDisconnect
            piece = await anyio.to_thread.run_sync(os.pread, self._descriptor, min(_PIECE, end - at), at)
            if not piece:
                # Shorter than when it was opened: closing early lets the reader see that it isn't whole.
                raise StorageError("A finished file was cut while it was sent.")
            at += len(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": at < end})
            self._service.metrics.sent(len(piece))
