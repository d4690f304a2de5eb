"""`reelport serve`: runs the API and its workers until SIGTERM or SIGINT."""

from __future__ import annotations

import signal

import structlog

from reelport.facts.log.table_identity import mark_tables
from reelport.server import logs
from reelport.server.api_memory import count_api_bytes
from reelport.server.doctor import start_checks
from reelport.server.events import Kind, subscribe
from reelport.server.files.store_owner import require_own_store
from reelport.server.http.api_processes import format_address, open_listener, run_api_processes
from reelport.server.process import exit_process, wait_for_end
from reelport.server.queue.supervisor import run_workers
from reelport.server.queue.worker_memory import fit_workers
from reelport.server.settings import Settings
from reelport.server.state.database import connected, writing
from reelport.server.state.own_tables import require_own_tables
from reelport.server.state.secret_fingerprint import require_same_secret
from reelport.storage.durable import private
from reelport.storage.retries import BRIEF_SECONDS, retry_for

_LOG = structlog.get_logger(__name__)


@private()
def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; UsageError, before all else, for a taken port."""
    logs.configure(settings)
    # Child processes inherit the limit. Raises UsageError when it is too low.
    start_checks.raise_open_files()
    with open_listener(settings) as listener:
        # Before the workers: they need a migrated database, and an unusable database ends the start here.
        _prepare_state(settings)
        if (fault := start_checks.find_link_fault(settings)) is not None:
            _LOG.warning("links lead nowhere", reason=fault)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, exit_process)
        with run_workers(fit_workers(settings, settings.workers, count_api_bytes(settings)), settings.workers):
            if settings.processes == 1:
                from reelport.server.web_server import serve_on  # noqa: PLC0415 - while the workers start, on another core

                serve_on(settings, listener)
                return
            with run_api_processes(settings, listener):
                _LOG.info("serving", address=format_address(listener), processes=settings.processes)
                wait_for_end()


def _prepare_state(settings: Settings) -> None:
    """Migrate the database. StorageError when it or the data directory is read-only."""
    with connected(settings) as db:
        with writing(db):
            pass
        with retry_for(BRIEF_SECONDS):
            require_same_secret(db, settings)
            require_own_store(db, settings)
            require_own_tables(db, settings)
            mark_tables(settings.facts_root)
        with subscribe(db, Kind.REPORT_ENDED):
            pass
