"""Runs a worker as a process: signals, state, engine, and its end with its supervisor."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import structlog
from sqlalchemy import Engine as Database

from reelport.engine.duckdb.engine import QueryEngine
from reelport.facts.layout import require_layout
from reelport.server import control_group
from reelport.server.events.bus import subscribe
from reelport.server.events.event import Kind
from reelport.server.files import retention
from reelport.server.memory import release_memory
from reelport.server.process import exit_process, exit_with_parent, idle_foreign_threads, is_ending, lower_priority
from reelport.server.queue import liveness, worker_registry
from reelport.server.queue.lease_keeper import release_dead_workers
from reelport.server.queue.warm_up import warm_up
from reelport.server.queue.worker import Worker, log_storage_errors
from reelport.server.settings import Settings
from reelport.server.state.database import connected
from reelport.server.state.own_tables import require_own_tables
from reelport.server.traces.tracing import traced
from reelport.storage.durable import translate_io_errors
from reelport.storage.modes import private
from reelport.storage.retries import BRIEF_SECONDS, retry_for

_LOWEST = 19
"""The lowest priority of nice(1); one step more leaves an engine the cores that nothing else wants."""
_log = structlog.get_logger()


@private()
def run_worker(settings: Settings, supervisor: str, *, isolated: bool = False) -> None:
    """Run one worker until SIGTERM, or until its supervisor ends.

    The supervisor's end closes standard input. An isolated worker makes one suspect after the other, and ends when none
    is due. Any other ends when it has made enough reports, and its supervisor starts it again.
    """
    if isolated:
        settings = replace(settings, slots=1)
    # A worker whose disk was unmounted must not make a new directory.
    require_layout(settings.data)
    owner = liveness.make_owner_name(settings)
    with (
        _exit_on_signals(),
        traced("worker"),
        connected(settings) as db,
        liveness.hold_name(settings, owner, supervisor),
        subscribe(db, Kind.REPORT_QUEUED) as events,
        make_engine(settings, owner) as engine,
    ):
        require_own_tables(db, settings)
        release_dead_workers(db, settings)
        with retry_for(BRIEF_SECONDS):  # its supervisor starts another one, whatever fails this
            retention.remove_orphans(db, settings)
        worker = Worker(settings, db, engine, owner, events, isolated=isolated)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: worker.stop())
        if is_ending():
            worker.stop()
        _attach_to_supervisor()
        if not isolated:
            warm_up(settings.facts_root, engine, liveness.spill_folder(settings, owner))
            # Objects of now stay as long as the process: a full collection that visits them takes 30 ms.
            gc.collect()
            gc.freeze()
            release_memory()
        gc.enable()
        # After the engine has started its threads, which are lowered too, and once the worker is as good as ready.
        lower_priority(min(settings.worker_nice, _LOWEST))
        if settings.worker_nice > _LOWEST:
            idle_foreign_threads()
        with nullcontext() if isolated else _register(db, owner):
            _log.info("worker started", worker=owner, slots=settings.slots, isolated=isolated)
            worker.run()
            _log.info("worker stopped", worker=owner)


@contextmanager
def _register(db: Database, owner: str) -> Iterator[None]:
    """Register the worker as ready within the block; the lease keeper sends its heartbeats."""
    with log_storage_errors(_log):
        worker_registry.record_heartbeat(db, owner)
    try:
        yield
    finally:
        with log_storage_errors(_log):
            worker_registry.unregister(db, owner)


@contextmanager
def _exit_on_signals() -> Iterator[None]:
    """Let SIGTERM and SIGINT raise SystemExit until a worker can stop gracefully."""
    before = {number: signal.signal(number, exit_process) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def make_engine(settings: Settings, owner: str) -> QueryEngine:
    """Make the worker's engine, limited in memory and to the files of facts and its spill."""
    with translate_io_errors(settings.spill_root), without_signals():
        return QueryEngine(
            settings.worker_memory,
            settings.worker_threads or control_group.count_cores(),
            liveness.spill_folder(settings, owner),
            within=(settings.facts_root, settings.cache_root),
            # A copy of an object store's file is touched at each use, after which DuckDB reads its footer again.
            keeps_footers=not settings.facts_url,
        )


@contextmanager
def without_signals() -> Iterator[None]:
    """Delay SIGTERM and SIGINT to the end of the block, which is in the main thread.

    DuckDB would turn what their handlers raise into an error of its own. To block them in this thread is not enough:
    the system gives them to another thread, and Python runs the handlers in this one all the same.
    """
    noted: list[int] = []
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, lambda which, _: noted.append(which)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for noticed in noted:
            signal.raise_signal(noticed)


def _attach_to_supervisor() -> None:
    """Ignore Ctrl-C, and end together with the supervisor."""
    # A Ctrl-C in the terminal stops the service, which then stops its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    exit_with_parent()
