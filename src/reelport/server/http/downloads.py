"""Downloads: serves a finished report in any form by signed URL, whole or one byte range.

The file stays open, so a download that has begun completes even when the report expires meanwhile. It is cut short
only when its key loses access to the report, or when a new download needs the slot of a slow one. It takes little
memory, however slow its client is.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Self
from urllib.parse import quote

import anyio
import anyio.to_thread
import structlog
from sqlalchemy import Engine
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from reelport.engine.report_format import CSV, FORM_TYPES, XLSX, FileType
from reelport.errors import DiskFull, OutOfMemory, StorageError, StoreUnavailable, UsageError
from reelport.query import ReportQuery
from reelport.server.files import forms, signed_urls
from reelport.server.files.file_names import name_file
from reelport.server.files.forms import describe_file
from reelport.server.files.report_files import FileRecord
from reelport.server.http.accept import find_quality, is_named
from reelport.server.http.service import Service, wait_for_reports
from reelport.server.limits.download_slots import NoFreeSlot, RunningDownload
from reelport.server.reports.report_access import FoundReport, find_linked_report
from reelport.server.traces import tracing
from reelport.storage.file_store import OpenFile
from reelport.wire import (
    COMPLETE_HEADER,
    QUERY_HEADER,
    ROWS_HEADER,
    UNITS_HEADER,
    VERSIONS_HEADER,
    format_complete_day,
)

_LOG = structlog.get_logger(__name__)
_SECURITY_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


class _Refused(Exception):
    """The download is refused: status, error's code, sentence, headers beside the usual ones."""

    def __init__(self, status: int, error: str, sentence: str, **headers: str) -> None:
        super().__init__(sentence)
        self.status, self.error, self.headers = status, error, headers


_RETRY_SECONDS = "5"
_INVALID_URL = (
    403,
    "link_not_valid",
    (
        "The link has expired, isn't ours, or its key may no longer read the report. Only a key that may still read "
        "the report gets a new link, with each status query."
    ),
)
_EXPIRED = 410, "report_expired", "The report has expired and its file is deleted: ask for it again."
_UNAVAILABLE = 503, "temporarily_unavailable", "The service can't read its state or its files now: try again."
_DAMAGED = 500, "internal_error", "The file is damaged: ask for the report again."
_ERRORS = {406: "form_not_available", 500: "internal_error", 503: "temporarily_unavailable"}
_LONGEST_QUERY = 2000
"""Letters of a query above which no header tells it: proxies refuse an answer with long headers."""


@dataclass(frozen=True, slots=True)
class _SignedUrl:
    """A signed URL's parts: public report id, key, expiry (Unix seconds), signature."""

    report_id: str
    key_id: str
    expires: str
    signature: str

    @property
    def seconds_left(self) -> float:
        return int(self.expires) - datetime.now(UTC).timestamp()

    @classmethod
    def from_request(cls, request: Request) -> Self:
        query = request.query_params
        return cls(request.path_params["file_id"], *(query.get(name, "") for name in ("key", "expires", "signature")))


async def download(request: Request, suffixed: FileType) -> Response:
    """Answer a GET or HEAD request for a signed URL whose path has this type's suffix."""
    try:
        return await _answer(request, suffixed)
    except NoFreeSlot as error:
        sentence = f"The limit of running downloads of {error.limit} is reached: try again when one has ended."
        # Close the connection: a client that opens thousands of URLs must not keep as many connections.
        closing = {"Retry-After": _RETRY_SECONDS, "Connection": "close"}
        return _refuse(_Refused(429, "too_many_downloads", sentence, **closing))
    except _Refused as refused:
        return _refuse(refused)
    except StorageError as error:
        # Such as a folder that is missing because its disk isn't mounted: the report hasn't expired.
        _LOG.error("the state or a file can't be used", reason=str(error))
        return _refuse(_Refused(*_UNAVAILABLE))


def _refuse(refused: _Refused) -> Response:
    body = {"error": refused.error, "error_description": str(refused)}
    again = {"Retry-After": _RETRY_SECONDS} if refused.status == 503 else {}  # noqa: PLR2004 - a status of HTTP
    headers = {**_SECURITY_HEADERS, "Cache-Control": "no-store", **again, **refused.headers}
    return JSONResponse(body, refused.status, headers)


async def _answer(request: Request, suffixed: FileType) -> Response:
    service: Service = request.app.state.service
    link = _SignedUrl.from_request(request)
    form = choose_form(",".join(request.headers.getlist("accept"))) if suffixed is CSV else suffixed
    if not signed_urls.is_signed(
        service.service_secret, link.report_id, link.key_id, link.expires, link.signature, datetime.now(UTC)
    ):
        raise _Refused(*_INVALID_URL)
    with ExitStack() as resources:
        running = resources.enter_context(service.download_slots.hold(link.report_id, link.seconds_left))
        made = None if form is CSV else await _find_form(request, link, form)
        span = tracing.current_span()
        span.set("reelport.report.id", link.report_id)
        report, record, content = await anyio.to_thread.run_sync(_open_file, service, link, made)
        resources.callback(content.close)
        span.link(report.traceparent)
        service.download_slots.count_for_partner(running, report.organization_id)
        headers = _make_headers(request, link, report, record, form)
        status, first, length = _select_range(request, headers["ETag"], record.bytes)
        if status in {206, 416}:
            part = f"{first}-{first + length - 1}" if status == 206 else "*"  # noqa: PLR2004 - a status of HTTP
            headers["Content-Range"] = f"bytes {part}/{record.bytes}"
        if status in {412, 416}:
            headers["Cache-Control"] = "no-store"
        if status not in {200, 206}:
            return Response(status_code=status, headers=headers)
        headers["Content-Length"] = str(length)
        part_of_file = range(first, first + length)
        return _Download(status, headers, service, link, content, part_of_file, running, resources.pop_all())


async def _find_form(request: Request, link: _SignedUrl, form: FileType) -> FileRecord:
    """Find the file of a form, or have it made: for who may read the report."""
    service: Service = request.app.state.service
    report, csv = await service.read(_find_report, link)
    found = await require_form(request, form, report.id, report.organization_id, csv.rows)
    if isinstance(found, Unmade):
        raise _Refused(found.status, _ERRORS[found.status], found)
    return found


def _open_file(service: Service, link: _SignedUrl, made: FileRecord | None) -> tuple[FoundReport, FileRecord, OpenFile]:
    """Open the file of the report, or the one that was `made` in another form."""
    report, csv = _find_report(service.db, link)
    record = made or csv
    try:
        content = service.settings.report_store.open(record.name)
    except FileNotFoundError:
        _LOG.error("a finished file is missing", file=record.name)
        raise _Refused(*_EXPIRED) from None
    if content.size != record.bytes:
        content.close()
        _LOG.error("a finished file has another length than its record", file=record.name)
        raise _Refused(*_DAMAGED)
    return report, record, content


def _find_report(db: Engine, link: _SignedUrl) -> tuple[FoundReport, FileRecord]:
    found = find_linked_report(db, link.report_id, link.key_id, datetime.now(UTC))
    if found is None:
        raise _Refused(*_INVALID_URL)
    if found.file is None:
        raise _Refused(*_EXPIRED)
    return found, found.file


_CSV_TYPE = CSV.media_type.partition(";")[0]
_BY_MEDIA_TYPE = {form.media_type: form for form in FORM_TYPES.values()}


class Unmade(StrEnum):
    """Why a form isn't there; the values are sentences."""

    IN_THE_MAKING = "The file is still being made in this form: try again."
    NO_ROOM = "The service has no room to make the file in this form now: try again later, or take the CSV."
    TOO_LARGE = (
        "The report is larger than a file of this form can be: take another form, or ask for fewer days or dimensions."
    )
    DAMAGED = "A file of the report is damaged, or can't be read or written: tell whoever runs the service."
    FAILED = "The file could not be made in this form. The CSV is unchanged: take that."

    @property
    def may_pass(self) -> bool:
        """Whether a later request may get the form."""
        return self in {Unmade.IN_THE_MAKING, Unmade.NO_ROOM}

    @property
    def status(self) -> int:
        """The HTTP status that says it."""
        if self.may_pass:
            return 503
        return 406 if self is Unmade.TOO_LARGE else 500


_FAILURES = {
    **dict.fromkeys((DiskFull.code, OutOfMemory.code, StoreUnavailable.code), Unmade.NO_ROOM),
    StorageError.code: Unmade.DAMAGED,
    UsageError.code: Unmade.TOO_LARGE,
}
"""What a form's failure is to who asked for it, by the code of its error."""


def choose_form(accept: str) -> FileType:
    """Choose what `Accept` prefers: CSV unless it names a form's media type, with more weight."""
    weights: dict[FileType, tuple[float, bool]] = {CSV: (find_quality(accept, _CSV_TYPE), is_named(accept, _CSV_TYPE))}
    for name, form in _BY_MEDIA_TYPE.items():
        if is_named(accept, name) and (weight := find_quality(accept, name)):
            weights[form] = weight, True
    return max(weights, key=lambda each: weights[each])


async def require_form(
    request: Request, form: FileType, report_id: str, organization_id: int, rows: int
) -> FileRecord | Unmade:
    """Find a form of a report with so many rows; the first request has it made.

    The request waits as long polls do, and counts as one. StorageError when state or store can't be used,
    ClientDisconnect once the client has gone. Whether the caller may read the report was decided before.
    """
    if form == XLSX:
        from reelport.xlsx import MOST_ROWS  # noqa: PLC0415 - loads a library that few requests need

        if rows > MOST_ROWS:
            return Unmade.TOO_LARGE
    service: Service = request.app.state.service
    key = report_id, form.suffix, rows
    store = service.settings.report_store
    found = await anyio.to_thread.run_sync(forms.find_intact_form, service.db, store, *key)
    if found is not None:
        return found
    subject = frozenset({forms.name_form(report_id, form.suffix)})
    await wait_for_reports(service, request, organization_id, subject, service.settings.look_seconds)
    made = await anyio.to_thread.run_sync(forms.find_form, service.db, *key)
    if made is None or (made.file is None and made.failure is None):
        return Unmade.IN_THE_MAKING
    return made.file or _FAILURES.get(made.failure or "", Unmade.FAILED)


def _make_headers(
    request: Request, link: _SignedUrl, report: FoundReport, record: FileRecord, form: FileType
) -> dict[str, str]:
    """Make what all files have: what the report says of itself, and the file's name.

    A link's file never changes: the cache of its holder may keep it until the link expires, and no other cache may.
    """
    query, day = ReportQuery.from_wire(json.loads(report.query)), report.last_complete_day
    ending = form.suffix.removeprefix(".")
    told = {}
    if form is not CSV:
        about = describe_file(report.query, report.versions, day)
        told = {QUERY_HEADER: about["query"], VERSIONS_HEADER: about["versions"], UNITS_HEADER: about["units"]}
    return {
        **_SECURITY_HEADERS,
        ROWS_HEADER: str(record.rows),
        **({} if day is None else {COMPLETE_HEADER: format_complete_day(day)}),
        "Cache-Control": f"private, no-transform, max-age={max(int(link.seconds_left), 0)}, immutable",
        "Content-Type": form.media_type,
        "Content-Disposition": format_attachment(name_file(query, ending), f"{report.id}.{ending}"),
        **{name: text for name, text in told.items() if len(text) <= _LONGEST_QUERY},
        "ETag": f'"{record.sha256}"',
        "Accept-Ranges": "bytes",
        **({"Vary": "Accept"} if request.url.path.endswith(CSV.suffix) else {}),
    }


_RANGE = re.compile(r"bytes\s*=\s*([0-9]{0,18})\s*-\s*([0-9]{0,18})\s*", re.IGNORECASE)


def _select_range(request: Request, tag: str, size: int) -> tuple[int, int, int]:
    """Return status, first byte and length to send (RFC 9110); conditions come first."""
    match_, none_match = request.headers.get("if-match"), request.headers.get("if-none-match")
    if match_ is not None and not _matches_tag(match_, tag):
        return 412, 0, 0
    if none_match is not None and _matches_tag(none_match, tag):
        return 304, 0, 0
    wanted = request.headers.get("range")
    if_range = request.headers.get("if-range")
    if wanted is None or request.method != "GET" or (if_range is not None and if_range.strip() != tag):
        return 200, 0, size
    return parse_range(wanted, size)


def _matches_tag(header: str, tag: str) -> bool:
    return header.strip() == "*" or tag in (each.strip().removeprefix("W/") for each in header.split(",", 50))


def parse_range(header: str, size: int) -> tuple[int, int, int]:
    """Parse a Range: status, first byte, length. Several or malformed ones: the whole file."""
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


def format_attachment(name: str, plain: str) -> str:
    """Format a Content-Disposition (RFC 6266); `plain` is the name for old programs."""
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


_CHUNK_BYTES = 131_072
"""Bytes read and sent at once: half as many take a third more CPU. A stalled client keeps one chunk in memory and one
in the write buffer."""
_CHUNKS_PER_CHECK = 8
"""Chunks between two checks whether the client is still connected."""
RECHECK_SECONDS = 5.0
"""Longest time that a download continues after its key has lost access to the report."""


class _Download(Response):
    """A response that sends a part of an open file, then releases the slots and the file.

    It goes piece by piece. Between two it checks that the client is still there, and that the URL's key may still read
    the report.
    """

    def __init__(
        self,
        status: int,
        headers: dict[str, str],
        service: Service,
        link: _SignedUrl,
        content: OpenFile,
        part: range,
        running: RunningDownload,
        resources: ExitStack,
    ) -> None:
        super().__init__(None, status, headers)
        self._service, self._link, self._content, self._part = service, link, content, part
        self._running, self._resources = running, resources

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the part of the file; stop when the client disconnects."""
        with self._resources:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if scope["method"] == "HEAD" or not self._part:
                await send({"type": "http.response.body", "body": b""})
                return
            with anyio.CancelScope() as sending:
                self._running.set_stop(sending.cancel)
                await self._send_chunks(Request(scope, receive), send)
            if self._running.ended:
                # No end of the body either: the client sees that the file is incomplete.
                _LOG.warning("a slow download ends early: a new one needs its place", report=self._link.report_id)

    async def _send_chunks(self, request: Request, send: Send) -> None:
        position, end = self._part.start, self._part.stop
        allowed_until = time.monotonic() + RECHECK_SECONDS
        count = 0
        while position < end:
            if count % _CHUNKS_PER_CHECK == 0 and await request.is_disconnected():
                # The web server drops what is sent after a disconnect: the rest of the file would be read in vain.
                raise ClientDisconnect
            if time.monotonic() > allowed_until:
                if not await self._is_still_allowed():
                    # No end of the body: the client sees that the file is incomplete.
                    return
                allowed_until = time.monotonic() + RECHECK_SECONDS
            count += 1
            chunk = await _read_chunk(self._content, min(_CHUNK_BYTES, end - position), position)
            position += len(chunk)
            await send({"type": "http.response.body", "body": chunk, "more_body": position < end})
            self._service.metrics.sent_bytes.inc(len(chunk))
            self._running.count(len(chunk))

    async def _is_still_allowed(self) -> bool:
        """Whether the URL's key may read the report; revoking it ends running downloads."""
        link, now = self._link, datetime.now(UTC)
        try:
            if await self._service.read(find_linked_report, link.report_id, link.key_id, now) is not None:
                return True
        except StorageError as error:
            _LOG.error("the state can't be used", reason=str(error))
            return True
        _LOG.warning("a download ends early: its key may not read the report any more", report=link.report_id)
        return False


async def _read_chunk(content: OpenFile, count: int, position: int) -> bytes:
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
