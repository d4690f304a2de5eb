"""The other forms of a report's file, as requests get them: at once, or after a wait."""

from __future__ import annotations

import time
from enum import StrEnum

import anyio.to_thread
from starlette.requests import Request

from reelport.engine.report_format import CSV, FORM_TYPES, XLSX, FileType
from reelport.errors import DiskFull, OutOfMemory, StorageError, StoreUnavailable, UsageError
from reelport.server.files import forms
from reelport.server.files.report_files import FileRecord
from reelport.server.http.accept import find_quality, is_named
from reelport.server.http.service import Service, run_while_connected

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
    if form == XLSX and rows > _find_most_rows():
        return Unmade.TOO_LARGE
    service: Service = request.app.state.service
    key = report_id, form.suffix, rows
    store = service.settings.report_store
    found = await anyio.to_thread.run_sync(forms.find_intact_form, service.db, store, *key)
    if found is not None:
        return found
    subject, began = frozenset({forms.name_form(report_id, form.suffix)}), time.perf_counter()
    seconds = service.settings.look_seconds
    await run_while_connected(request, lambda: service.long_polls.wait(organization_id, subject, seconds))
    request.state.held = time.perf_counter() - began
    made = await anyio.to_thread.run_sync(forms.find_form, service.db, *key)
    if made is None or (made.file is None and made.failure is None):
        return Unmade.IN_THE_MAKING
    return made.file or _FAILURES.get(made.failure or "", Unmade.FAILED)


def _find_most_rows() -> int:
    from reelport.xlsx import MOST_ROWS  # noqa: PLC0415 - loads a library that few requests need

    return MOST_ROWS
