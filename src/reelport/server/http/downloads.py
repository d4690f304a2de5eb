"""Downloads: serves a finished report file by signed URL, whole or one byte range.

The file stays open, so a download that has begun completes even when the report expires meanwhile. It is cut short
only when its key loses access to the report, or when a new download needs the slot of a slow one.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from typing import Self

import anyio
import anyio.to_thread
import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from reelport.engine.report_format import CSV
from reelport.errors import StorageError
from reelport.query import ReportQuery
from reelport.query_sentence import name_file
from reelport.server.files import signed_urls
from reelport.server.files.report_files import FileRecord
from reelport.server.http.attachment import format_attachment
from reelport.server.http.byte_range import select_range
from reelport.server.http.service import Service
from reelport.server.http.transfer import Download, Transfer
from reelport.server.limits.download_slots import Limit, NoFreeSlot, RunningDownload
from reelport.server.reports.report_access import FoundReport, find_linked_report
from reelport.server.traces import tracing
from reelport.spreadsheet_guard import SpreadsheetGuard
from reelport.storage.file_store import FileStore, OpenFile
from reelport.wire import COMPLETE_HEADER, ROWS_HEADER, format_complete_day

_LOG = structlog.get_logger(__name__)
_SECURITY_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why there is no file; the description says what to do."""

    status: int
    error: str
    description: str


_RETRY_SECONDS = "5"
_INVALID_URL = _Refusal(
    403,
    "link_not_valid",
    "The link has expired, isn't ours, or its key may no longer read the report. Only a key that may still read the "
    "report gets a new link, with each status query.",
)
_EXPIRED = _Refusal(410, "report_expired", "The report has expired and its file is deleted: ask for it again.")
_UNAVAILABLE = _Refusal(503, "temporarily_unavailable", "The service can't read its state or its files now: try again.")
_DAMAGED = _Refusal(500, "internal_error", "The file is damaged: ask for the report again.")


@dataclass(frozen=True, slots=True)
class _SignedUrl:
    """A signed URL's parts: public report id, key, expiry (Unix seconds), signature."""

    report_id: str
    key_id: str
    expires: str
    signature: str

    @property
    def seconds_left(self) -> float:
        """Seconds until the URL expires."""
        return int(self.expires) - datetime.now(UTC).timestamp()

    @classmethod
    def from_request(cls, request: Request) -> Self:
        """Read the signed URL of a request."""
        query = request.query_params
        return cls(request.path_params["report_id"], *(query.get(name, "") for name in ("key", "expires", "signature")))


@dataclass(frozen=True, slots=True)
class _OpenReport:
    """A report whose open file has the recorded length; partner, last complete day, query as JSON."""

    record: FileRecord
    organization_id: int
    last_complete_day: date | None
    content: OpenFile
    query: str
    traceparent: str | None


async def download(request: Request) -> Response:
    """Answer a GET or HEAD request for a signed URL."""
    service: Service = request.app.state.service
    link = _SignedUrl.from_request(request)
    if not signed_urls.is_signed(
        service.service_secret, link.report_id, link.key_id, link.expires, link.signature, datetime.now(UTC)
    ):
        return _refuse(_INVALID_URL)
    try:
        with ExitStack() as resources:
            running = resources.enter_context(service.download_slots.hold_report(link.report_id, link.seconds_left))
            found = await anyio.to_thread.run_sync(_open_file, service, link)
            _trace_download(link, found)
            if isinstance(found, _Refusal):
                return _refuse(found)
            resources.callback(found.content.close)
            resources.enter_context(service.download_slots.hold_partner(running, found.organization_id))
            answer = _answer_guarded if signed_urls.EXCEL_SAFE in request.query_params else _answer
            return answer(request, link, found, running, resources)
    except NoFreeSlot as error:
        # Close the connection: a client that opens thousands of URLs must not keep as many connections.
        return _refuse(_describe_full(error.limit), **{"Retry-After": _RETRY_SECONDS, "Connection": "close"})


def _trace_download(link: _SignedUrl, found: _OpenReport | _Refusal) -> None:
    """Name the report in the span of the request, and link the trace in which it was made."""
    span = tracing.current_span()
    span.set("reelport.report.id", link.report_id)
    if isinstance(found, _OpenReport):
        span.link(found.traceparent)


def _answer(
    request: Request, link: _SignedUrl, found: _OpenReport, running: RunningDownload, resources: ExitStack
) -> Response:
    """Make the response: a range of the file or none, by conditions and Range."""
    service: Service = request.app.state.service
    tag = f'"{found.record.sha256}"'
    headers = {
        **_SECURITY_HEADERS,
        "ETag": tag,
        **_describe_report(found),
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-transform",
        "Content-Type": CSV.media_type,
        "Content-Disposition": format_attachment(_name_file(found, "csv"), CSV.file_name(link.report_id)),
    }
    status, first, length = select_range(request, tag, found.record.bytes)
    if status in {206, 416}:
        part = f"{first}-{first + length - 1}" if status == 206 else "*"  # noqa: PLR2004 - a status of HTTP
        headers["Content-Range"] = f"bytes {part}/{found.record.bytes}"
    if status not in {200, 206}:
        return Response(status_code=status, headers=headers)
    is_allowed = partial(_is_allowed, service, link)
    kept = resources.pop_all()
    transfer = Transfer(service, found.content, is_allowed, first, length, running, kept)
    return Download(status, {**headers, "Content-Length": str(length)}, transfer)


def _describe_report(found: _OpenReport) -> dict[str, str]:
    """Make the headers on the report, of whichever form of its file."""
    day = found.last_complete_day
    complete = {} if day is None else {COMPLETE_HEADER: format_complete_day(day)}
    return {ROWS_HEADER: str(found.record.rows), **complete}


def _name_file(found: _OpenReport, ending: str) -> str:
    return name_file(ReportQuery.from_wire(json.loads(found.query)), ending)


def _answer_guarded(
    request: Request, link: _SignedUrl, found: _OpenReport, running: RunningDownload, resources: ExitStack
) -> Response:
    """Make the response with the file for spreadsheets: whole, with no length or checksum."""
    service: Service = request.app.state.service
    _hold_place(service, resources)
    headers = {
        **_SECURITY_HEADERS,
        **_describe_report(found),
        "Cache-Control": "private, no-transform",
        "Content-Type": CSV.media_type,
        "Content-Disposition": format_attachment(
            _name_file(found, "excel-safe.csv"), CSV.file_name(f"{link.report_id}-excel-safe")
        ),
    }
    is_allowed = partial(_is_allowed, service, link)
    kept, whole = resources.pop_all(), found.record.bytes
    transfer = Transfer(service, found.content, is_allowed, 0, whole, running, kept, SpreadsheetGuard())
    return Download(200, headers, transfer)


def _hold_place(service: Service, resources: ExitStack) -> None:
    """Hold one of the places for downloads that take a core's time; NoFreeSlot when all are taken."""
    place = object()
    try:
        service.guarded_downloads.acquire_on_behalf_of_nowait(place)
    except anyio.WouldBlock:
        raise NoFreeSlot(Limit.SERVICE) from None
    resources.callback(service.guarded_downloads.release_on_behalf_of, place)


def _refuse(refused: _Refusal, **headers: str) -> Response:
    body = {"error": refused.error, "error_description": refused.description}
    again = {"Retry-After": _RETRY_SECONDS} if refused.status == 503 else {}  # noqa: PLR2004 - a status of HTTP
    return JSONResponse(body, refused.status, {**_SECURITY_HEADERS, "Cache-Control": "no-store", **again, **headers})


def _describe_full(limit: Limit) -> _Refusal:
    sentence = f"The limit of running downloads of {limit} is reached: try again when one has ended."
    if limit is Limit.SERVICE:
        return _Refusal(503, "temporarily_unavailable", sentence)
    return _Refusal(429, "too_many_downloads", sentence)


def _open_file(service: Service, link: _SignedUrl) -> _OpenReport | _Refusal:
    found = _find_report(service, link)
    if isinstance(found, _Refusal):
        return found
    if found.file is None:
        return _EXPIRED
    return _open_record(service.settings.report_store, found, found.file)


def _find_report(service: Service, link: _SignedUrl) -> FoundReport | _Refusal:
    """Find the report behind a URL whose signature is right, if its key may still read it."""
    try:
        found = find_linked_report(service.db, link.report_id, link.key_id, datetime.now(UTC))
    except StorageError as error:
        _LOG.error("the state can't be used", reason=str(error))
        return _UNAVAILABLE
    return _INVALID_URL if found is None else found


def _is_allowed(service: Service, link: _SignedUrl) -> bool:
    return _find_report(service, link) is not _INVALID_URL


def _open_record(store: FileStore, report: FoundReport, record: FileRecord) -> _OpenReport | _Refusal:
    try:
        content = store.open(record.name)
    except FileNotFoundError:
        _LOG.error("a finished file is missing", file=record.name)
        return _EXPIRED
    except StorageError:
        # Such as a folder that is missing because its disk isn't mounted: the report hasn't expired.
        _LOG.exception("a finished file can't be read", file=record.name)
        return _UNAVAILABLE
    if content.size != record.bytes:
        content.close()
        _LOG.error("a finished file has another length than its record", file=record.name)
        return _DAMAGED
    return _OpenReport(
        record, report.organization_id, report.last_complete_day, content, report.query, report.traceparent
    )
