"""Log a sync's events by `logging`, as `reelport.sync`. Silent unless configured."""

from __future__ import annotations

import logging

from reelport.client.report_log import ReportLog, shorten
from reelport.client.session import Session
from reelport.sync.events import Began, Failed, Loaded, OfWindow, Planned, SyncEvent, Tell
from reelport.wording import format_count

_LOGGER = logging.getLogger("reelport.sync")


def with_log(session: Session, tell: Tell) -> Tell:
    """Wrap `tell` so that each event is logged first."""
    log = ReportLog(session)

    def listener(event: SyncEvent) -> None:
        _write(log, event)
        tell(event)

    return listener


def _write(log: ReportLog, event: SyncEvent) -> None:
    match event:
        case OfWindow(spec, window, happened):
            log.log_event(f"{spec} {window}", happened)
        case Planned(spec, windows):
            todo = f"{format_count(len(windows), 'window')} to read" if windows else "up to date"
            log.write(logging.INFO, f"{spec}: {todo}", _LOGGER)
        case Began(spec, window, number, of):
            log.write(logging.INFO, f"{spec} {window}: reading window {number} of {of}", _LOGGER)
        case Loaded(spec, window, before, rows, token, notes):
            loaded = format_count(rows, "row") + (f" in the place of {before:,}" if before else "")
            log.write(logging.INFO, f"{spec} {window}: synced, {loaded}, of report {shorten(token)}", _LOGGER)
            for note in notes:
                log.write(logging.WARNING, f"{spec} {window}: {note}", _LOGGER)
        case Failed(spec, window, reason):
            log.write(logging.WARNING, f"{spec} {window}: not synced: {reason}", _LOGGER)
