"""Says how large a report is, and by which dimension, that could not be made.

It looks at a few days of the report's facts, with an engine of its own that has little memory, and gives up after ten
seconds: the end of a report must not depend on it. On a quiet machine it takes a tenth of one.
"""

from __future__ import annotations

import threading

import structlog
from sqlalchemy import Engine

from reelport.engine.compile import tables_of
from reelport.engine.duckdb.engine import Progress, QueryEngine, Session
from reelport.engine.memory_size import parse_size
from reelport.engine.report_size import ReportSize, estimate_size
from reelport.engine.tenant import Tenant
from reelport.errors import ReelportError, StorageError
from reelport.facts.log.snapshot import pin
from reelport.report_details import FailureReason
from reelport.server.queue import jobs
from reelport.server.queue.jobs import Claim
from reelport.server.settings import Settings
from reelport.server.state.database import writing

_MEMORY = "256MB"
_SECONDS = 10.0
_LEAST_TIMES = 1.5
"""How many times the memory of a worker a report must need before that is said: it is a rough estimate."""
_MILLION = 1_000_000
_LOG = structlog.get_logger(__name__)


def describe_too_large(settings: Settings, claim: Claim) -> str | None:
    """Say to its partner how large a report is that needs too much memory; None if unknown."""
    size = _estimate_size(settings, claim)
    if size is None:
        return None
    return " ".join([FailureReason.TOO_LARGE.sentence, _format_size(size, parse_size(settings.worker_memory))])


def describe_too_late(settings: Settings, claim: Claim, progress: Progress | None) -> str:
    """Say to its partner how large a report is that takes too long, and how far it came."""
    sentences = [f"It was not made in {settings.generation_seconds:,} seconds."]
    if progress is not None:
        sentences.append(f"{_format_about(progress.rows)} of its rows were written in that time.")
    if (size := _estimate_size(settings, claim)) is not None:
        sentences.append(_format_size(size, None))
    return " ".join(sentences)


def note_suspect(db: Engine, settings: Settings, claim: Claim) -> None:
    """Store how large a suspect is before it is made: it may kill its worker."""
    told = describe_too_large(settings, claim)
    if told is None:
        return
    try:
        with writing(db) as connection:
            jobs.update_report(connection, claim.report_id, partner_reason=told)
    except StorageError as error:
        _LOG.warning("the size of a report was not stored", report=claim.report_id, reason=str(error))


def _estimate_size(settings: Settings, claim: Claim) -> ReportSize | None:
    """Estimate the report's size within ten seconds; None, and a log line, where that fails."""
    try:
        with QueryEngine(_MEMORY, 1, None, within=(settings.facts_root, settings.cache_root)) as engine:
            session, found = engine.session(), list[ReportSize]()
            # A thread of its own: to fetch files from a store that is slow can't be interrupted.
            given = (session, settings, claim, found)
            thread = threading.Thread(target=_estimate_with, args=given, name="oversize", daemon=True)
            thread.start()
            thread.join(_SECONDS)
            session.request_cancel()
            return found[0] if found else None
    except Exception:  # noqa: BLE001 - whatever it was, the report has its reason without it
        _LOG.exception("the size of a report is not known", report=claim.report_id)
        return None


def _estimate_with(session: Session, settings: Settings, claim: Claim, found: list[ReportSize]) -> None:
    try:
        snapshot = pin(settings.facts_root, tables_of(claim.query), claim.versions)
        size = estimate_size(session, claim.query, Tenant(claim.channels), snapshot)
    except ReelportError as error:
        _LOG.info("the size of a report is not known", report=claim.report_id, reason=str(error))
    except Exception:  # noqa: BLE001 - as above
        _LOG.exception("the size of a report is not known", report=claim.report_id)
    else:
        found += [] if size is None else [size]


def _format_size(size: ReportSize, memory: int | None) -> str:
    """Write the rows, their need of memory, and the dimension with the most values."""
    rows = f"It would have {'more than' if size.is_least else 'about'} {_format_about(size.rows)} rows"
    times = 0.0 if memory is None else size.memory / memory
    need = f", which need about {times:,.0f} times the memory of the platform's limit" if times > _LEAST_TIMES else ""
    if size.widest is None:
        return f"{rows}{need}."
    looked_at = "" if size.days == size.all_days else f" in {size.days} of its {size.all_days} days"
    return f"{rows}{need}. {size.widest.name} alone has about {_format_about(size.values)} values{looked_at}."


def _format_about(number: int) -> str:
    """Write a number with two digits: `52,000`, `120 million`."""
    rounded = round(number, -max(len(str(number)) - 2, 0))
    if rounded < _MILLION:
        return f"{rounded:,}"
    return f"{rounded / _MILLION:,.1f}".removesuffix(".0") + " million"
