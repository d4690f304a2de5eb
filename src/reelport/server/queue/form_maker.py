"""A form maker: a process that makes the other forms of finished reports, one at a time.

It is started when a form is due, and ends when none was for a while. It holds nothing that its end could harm: a file
has its name only when it is whole, and its supervisor frees what it held.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog
from sqlalchemy import Engine

from reelport import killpoints
from reelport.engine.memory_size import parse_size
from reelport.errors import InternalError, ReelportError, StorageError
from reelport.facts.layout import require_layout
from reelport.server.events.bus import Kind, subscribe
from reelport.server.files import forms, report_files
from reelport.server.files.form_writer import write_form
from reelport.server.files.forms import FormClaim
from reelport.server.files.report_files import FileRecord
from reelport.server.process import exit_with_parent, lower_priority
from reelport.server.queue import liveness
from reelport.server.settings import Settings
from reelport.server.state.database import connected
from reelport.server.state.own_tables import require_own_tables
from reelport.storage.digests import compute_digest, require_digest
from reelport.storage.durable import private, translate_io_errors
from reelport.storage.file_cache import holding

IDLE_SECONDS = 60.0
"""Seconds without a form after which the process ends."""
MEMORY = 512_000_000
"""Most bytes that a form's writer takes: its largest rows are kept in memory for a group of rows."""
_LOWEST = 19
_BEATS = 3
"""A lease is renewed so often before it runs out."""
_log = structlog.get_logger()


@private()
def run_form_maker(settings: Settings, supervisor: str, owner: str) -> None:
    """Make forms, as this owner, until none is due for a while or the supervisor ends."""
    require_layout(settings.data)
    name = liveness.make_owner_name(settings)
    scratch = liveness.spill_folder(settings, name)
    with (
        connected(settings) as db,
        liveness.hold_name(settings, name, supervisor),
        subscribe(db, Kind.FORM_QUEUED) as events,
    ):
        require_own_tables(db, settings)
        exit_with_parent()
        lower_priority(min(settings.worker_nice, _LOWEST))
        until = time.monotonic() + IDLE_SECONDS
        while time.monotonic() < until:
            try:
                made = make_next_form(db, settings, owner, scratch)
            except StorageError as error:  # of the state: the lease of what it held runs out
                _log.warning("the queue of forms can't be used, trying again", reason=str(error))
                made = False
            if made:
                until = time.monotonic() + IDLE_SECONDS
            else:
                events.wait()


def make_next_form(db: Engine, settings: Settings, owner: str, scratch: Path) -> bool:
    """Make the next form; False when none is due. StorageError when the state can't be used.

    `scratch` is a folder for temporary files, which is made.
    """
    claim = forms.claim_form(db, owner, settings.lease_seconds)
    if claim is None:
        return False
    log = _log.bind(report=claim.report_id, form=claim.form.suffix)
    try:
        with _keep_lease(db, claim, settings.lease_seconds):
            record = _make_form(settings, claim, scratch)
    except Exception as error:  # whatever it was, who waits for the form must be told
        known = isinstance(error, ReelportError)
        log.warning("form failed", reason=str(error), exc_info=None if known else error)
        forms.fail_form(db, claim, error.code if isinstance(error, ReelportError) else InternalError.code)
    else:
        if not forms.finish_form(db, claim, record):
            settings.report_store.delete(record.name)
        log.info("form made", bytes=record.bytes)
    return True


def _make_form(settings: Settings, claim: FormClaim, scratch: Path) -> FileRecord:
    """Make the file of a form from the report's CSV, whose bytes are checked first."""
    draft = report_files.prepare_form_draft(settings, claim.report_id, claim.attempt, claim.form)
    memory = min(parse_size(settings.worker_memory), MEMORY)
    try:
        with holding():
            (csv,) = settings.report_store.local_paths([claim.csv.name])
            with translate_io_errors(csv):
                require_digest(csv, claim.csv.sha256)
            with translate_io_errors(scratch):
                scratch.mkdir(parents=True, exist_ok=True)
            write_form(csv, claim.csv.rows, claim.form, claim.about, draft, memory, scratch)
        killpoints.reach("form-write")
        with translate_io_errors(draft):
            size, digest = draft.stat().st_size, compute_digest(draft)
        return FileRecord(report_files.publish_form_draft(settings, draft), claim.csv.rows, size, digest)
    finally:
        with suppress(OSError):  # the cause is already being raised; a later sweep deletes the draft
            draft.unlink(missing_ok=True)


@contextmanager
def _keep_lease(db: Engine, claim: FormClaim, seconds: float) -> Iterator[None]:
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(seconds / _BEATS):
            with suppress(StorageError):  # the next beat tries again
                forms.renew_form_lease(db, claim, seconds)

    thread = threading.Thread(target=beat, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
