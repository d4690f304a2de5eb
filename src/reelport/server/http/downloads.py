"""A finished file over HTTP: by signed link alone, whole or one range of it, from a file that stays open.

Once a download has begun it ends whole, even when the report expires meanwhile; only a key that may read the
report no more ends it, or a new download that needs the place of a slow one. A reader costs a small piece of memory,
however slowly it takes the file.
"""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Self

import anyio
import anyio.to_thread
import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from reelport.errors import StorageError
from reelport.server.files import report_files, signed_urls
from reelport.server.files.report_files import FileRecord
from reelport.server.http.byte_range import select_part
from reelport.server.http.service import Service
from reelport.server.limits.download_slots import Crowded, Limit, Running
from reelport.server.reports import use_cases
from reelport.server.reports.use_cases import LinkedFile, NoFile
from reelport.wire import COMPLETE_HEADER, ROWS_HEADER, format_complete_day

_LOG = structlog.get_logger(__name__)
_PIECE = 65_536
"""What is read and sent at once. A reader that takes nothing keeps one in memory, and as much on its way."""
_CHECKED = 16
"""Pieces between two looks whether the reader is there yet."""
_NO_WAITING = getattr(os, "RWF_NOWAIT", None)
_SAFE = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


@dataclass(frozen=True, slots=True)
class _Refused:
    """Why there is no file; the sentence says what to do."""

    status: int
    error: str
    description: str


_RETRY_SECONDS = "5"
_NO_LINK = _Refused(
    403,
    "link_not_valid",
    "The link is over, or isn't ours, or access was taken back. A key that may still read the report gets a fresh one "
    "by looking at it; any other gets none.",
)
_GONE = _Refused(410, "report_expired", "The report's time is over and its file is gone: ask for it again.")
_AWAY = _Refused(503, "temporarily_unavailable", "The service can't read its state or its files now: try again.")
_DAMAGED = _Refused(500, "internal_error", "The file isn't what its record says: ask for the report again.")


@dataclass(frozen=True, slots=True)
class _Link:
    """What a link says: the public name of a report, for whom it was signed, until when, and the signature."""

    report_id: str
    key_id: str
    expires: str
    signature: str

    @property
    def seconds(self) -> float:
        """For how long it is still good."""
        return int(self.expires) - datetime.now(UTC).timestamp()

    @classmethod
    def of(cls, request: Request) -> Self:
        """The link that was called."""
        query = request.query_params
        return cls(request.path_params["report_id"], *(query.get(name, "") for name in ("key", "expires", "signature")))


@dataclass(frozen=True, slots=True)
class _Opened:
    """A file that is open and has the length that its record says, the partner whose it is, and its complete day."""

    record: FileRecord
    organization_id: int
    last_complete_day: date | None
    descriptor: int


async def download(request: Request) -> Response:
    """Answer a GET or HEAD of a link."""
    service: Service = request.app.state.service
    link = _Link.of(request)
    if not signed_urls.is_signed(
        service.secret, link.report_id, link.key_id, link.expires, link.signature, datetime.now(UTC)
    ):
        return _refusal(_NO_LINK)
    try:
        with ExitStack() as held:
            running = held.enter_context(service.download_slots.hold_report(link.report_id, link.seconds))
            found = await anyio.to_thread.run_sync(_open, service, link)
            if isinstance(found, _Refused):
                return _refusal(found)
            held.callback(os.close, found.descriptor)
            held.enter_context(service.download_slots.hold_partner(running, found.organization_id))
            return _answer(request, link, found, running, held)
    except Crowded as crowded:
        # The connection ends with it: whoever opens thousands of links keeps none of them.
        return _refusal(_crowded(crowded.limit), **{"Retry-After": _RETRY_SECONDS, "Connection": "close"})


def _answer(request: Request, link: _Link, found: _Opened, running: Running, held: ExitStack) -> Response:
    """The file, which keeps what is held until it is sent, or why none of it is."""
    tag = f'"{found.record.sha256}"'
    headers = {
        **_SAFE,
        "ETag": tag,
        ROWS_HEADER: str(found.record.rows),
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-transform",
        "Content-Type": "text/csv; charset=utf-8",
        "Content-Disposition": f'attachment; filename="{link.report_id}.csv"',
    }
    if found.last_complete_day is not None:
        headers[COMPLETE_HEADER] = format_complete_day(found.last_complete_day)
    status, first, length = select_part(request, tag, found.record.bytes)
    if status in {206, 416}:
        part = f"{first}-{first + length - 1}" if status == 206 else "*"  # noqa: PLR2004 - a status of HTTP
        headers["Content-Range"] = f"bytes {part}/{found.record.bytes}"
    if status not in {200, 206}:
        return Response(status_code=status, headers=headers)
    sent = _Sent(request.app.state.service, link, found, first, length, running, held.pop_all())
    return _Download(status, headers, sent)


def _refusal(refused: _Refused, **headers: str) -> Response:
    body = {"error": refused.error, "error_description": refused.description}
    return JSONResponse(body, refused.status, {**_SAFE, "Cache-Control": "no-store", **headers})


def _crowded(limit: Limit) -> _Refused:
    sentence = f"As many downloads of {limit} are running as may be: try again when one has ended."
    if limit is Limit.SERVICE:
        return _Refused(503, "temporarily_unavailable", sentence)
    return _Refused(429, "too_many_downloads", sentence)


def _open(service: Service, link: _Link) -> _Opened | _Refused:
    found = _allowed(service, link)
    if isinstance(found, _Refused):
        return found
    return _opened(report_files.file_path(service.settings, found.file.name), found)


def _allowed(service: Service, link: _Link) -> LinkedFile | _Refused:
    """The file that the link opens now."""
    try:
        found = use_cases.find_linked_file(service.db, link.report_id, link.key_id, service.expiry.now())
    except StorageError as error:
        _LOG.error("the state can't be used", reason=str(error))
        return _AWAY
    match found:
        case NoFile.WITHDRAWN:
            return _NO_LINK
        case NoFile.OVER:
            return _GONE
    return found


def _opened(path: Path, found: LinkedFile) -> _Opened | _Refused:
    record = found.file
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
    return _Opened(record, found.organization_id, found.last_complete_day, descriptor)


@dataclass(frozen=True, slots=True)
class _Sent:
    """The part of an open file that is sent, and what is held meanwhile: its slots and the file."""

    service: Service
    link: _Link
    file: _Opened
    first: int
    length: int
    running: Running
    held: ExitStack


class _Download(Response):
    """Sends a part of an open file, and lets go of it whatever happens."""

    def __init__(self, status: int, headers: dict[str, str], sent: _Sent) -> None:
        super().__init__(None, status, headers)
        self.headers["Content-Length"] = str(sent.length)
        self._sent = sent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; a reader who goes away ends it."""
        with self._sent.held:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if scope["method"] == "HEAD" or not self._sent.length:
                await send({"type": "http.response.body", "body": b""})
                return
            running = self._sent.running
            with anyio.CancelScope() as sending:
                running.stop_by(sending.cancel)
                await self._pieces(Request(scope, receive), send)
            if running.ended:
                # Without its end, too.
                _LOG.warning("a slow download ends early: a new one needs its place", report=running.report_id)

    async def _pieces(self, request: Request, send: Send) -> None:
        at, end = self._sent.first, self._sent.first + self._sent.length
        pause = self._sent.service.settings.recheck_seconds
        allowed_until = time.monotonic() + pause
        count = 0
        while at < end:
            if count % _CHECKED == 0 and await request.is_disconnected():
                # The web server takes what is sent to nobody without a word: the rest of the file would be read for it.
                raise ClientDisconnect
            if time.monotonic() > allowed_until:
                if not await self._still_allowed():
                    # Without its end: the reader sees that it isn't whole.
                    return
                allowed_until = time.monotonic() + pause
            piece = await _read(self._sent.file.descriptor, min(_PIECE, end - at), at)
            at += len(piece)
            count += 1
            await send({"type": "http.response.body", "body": piece, "more_body": at < end})
            self._sent.service.metrics.sent(len(piece))
            self._sent.running.count(len(piece))

    async def _still_allowed(self) -> bool:
        """Whether the link's key may still read the report: revoking it ends what it has begun, too."""
        found = await anyio.to_thread.run_sync(_allowed, self._sent.service, self._sent.link)
        if found is _NO_LINK:
            _LOG.warning(
                "a download ends early: its key may not read the report any more", report=self._sent.link.report_id
            )
        return found is not _NO_LINK


async def _read(descriptor: int, count: int, at: int) -> bytes:
    """Read a piece: here what is in memory already, in a thread what has to come from the disk."""
    piece = _read_cached(descriptor, count, at)
    if piece is None:
        piece = await anyio.to_thread.run_sync(os.pread, descriptor, count, at)
    else:
        # A fast reader of a file in memory never waits: others get their turn between its pieces.
        await asyncio.sleep(0)
    if not piece:
        # Shorter than when it was opened: closing early lets the reader see that it isn't whole.
        raise StorageError("A finished file was cut while it was sent.")
    return piece


def _read_cached(descriptor: int, count: int, at: int) -> bytes | None:
    """What can be read without waiting for the disk; None when that is nothing, or can't be told here."""
    if _NO_WAITING is None:
        return None
    buffer = bytearray(count)
    try:
        read = os.preadv(descriptor, [buffer], at, _NO_WAITING)
    except OSError:
        # Nothing of it is in memory, or the file system doesn't know such reads.
        return None
    return bytes(memoryview(buffer)[:read])
