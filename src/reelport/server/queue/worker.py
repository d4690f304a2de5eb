"""The worker, a process: claims reports and makes up to `slots` at a time with one engine.

While reports that take long hold all of these slots, one more is open, the express slot. What takes long there too is
interrupted, and waits for one of the others. Throw-away reports warm a worker up: the first real one would be slow.
"""

from __future__ import annotations

import gc
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import structlog
from sqlalchemy import Engine as Database

from reelport.catalog import Dimension, Grain, Metric
from reelport.check import problems
from reelport.engine.compile import plan_pieces, tables_of
from reelport.engine.duckdb.engine import Cancelled, QueryEngine
from reelport.engine.report_format import CSV
from reelport.engine.tenant import Tenant
from reelport.errors import (
    DiskFull,
    EngineUnavailable,
    InternalError,
    OutOfMemory,
    ReelportError,
    RequestError,
    StorageError,
    StoreUnavailable,
)
from reelport.facts.layout import require_layout
from reelport.facts.log.snapshot import pin
from reelport.query import ReportQuery
from reelport.server import resources
from reelport.server.events import Kind, Subscription, subscribe
from reelport.server.files import retention
from reelport.server.process import exit_process, exit_with_parent, idle_foreign_threads, is_ending, lower_priority
from reelport.server.queue import attempt, deaths, jobs, liveness, oversize
from reelport.server.queue.attempt import LeaseLost, Log, clock, trace_attempt
from reelport.server.queue.estimates import Estimates
from reelport.server.queue.jobs import Claim
from reelport.server.queue.lease_keeper import (
    WATCH_SECONDS,
    LeaseKeeper,
    RunningAttempt,
    StopReason,
    release_dead_workers,
)
from reelport.server.queue.report_state import ReasonCode
from reelport.server.queue.worker_memory import RestMemory
from reelport.server.resources import release_memory
from reelport.server.settings import Settings
from reelport.server.state.database import StateUnavailable, connected, sit_out
from reelport.server.state.own_tables import require_own_tables
from reelport.server.state.write_ahead import StateLocked
from reelport.server.traces.tracing import current_span, traced
from reelport.storage.durable import private, translate_io_errors
from reelport.storage.retries import BRIEF_SECONDS, retry_for

_LOWEST = 19
"""The lowest priority of nice(1); one step more leaves an engine the cores that nothing else wants."""
_log = structlog.get_logger()
REPORTS = 1000
"""Reports after which a worker ends once it rests; after twice as many it ends once no report runs for long.

It is started again, so whatever libraries keep of memory is bounded. A long report is never interrupted for that: it
would begin anew each time, and never end on a busy worker.
"""
EXPRESS_SECONDS = 1.0
"""While all reports of a worker take longer than this, it makes one more beside them, for at most as long."""
ROOM_SECONDS = 3600.0
"""Longest time that a report waits in all for room on a full disk, a lost engine or object store, before it fails."""
_LEAST_ROOM_PAUSE = 1.0
_HEAD_START = 0.02
"""Seconds that a report has Python to itself until the engine makes it, before the next one is claimed."""


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
    signal.signal(signal.SIGTERM, exit_process)
    with (
        traced("worker"),
        connected(settings) as db,
        liveness.hold_name(settings, owner, supervisor),
        subscribe(db, Kind.REPORT_QUEUED) as events,
    ):
        require_own_tables(db, settings)
        release_dead_workers(db, settings)
        with retry_for(BRIEF_SECONDS):  # its supervisor starts another one, whatever fails this
            retention.remove_orphans(db, settings)
        # From here on a stop is noted: DuckDB would make an error of its own of what a handler raises.
        stopping = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stopping.set())
        with make_engine(settings, owner) as engine:
            worker = Worker(settings, db, engine, owner, events, isolated=isolated)
            signal.signal(signal.SIGTERM, lambda *_: worker.stop())
            if stopping.is_set() or is_ending():
                worker.stop()
            exit_with_parent()
            if not isolated:
                warm_up(settings.facts_root, engine, liveness.spill_folder(settings, owner))
                # Objects of now stay as long as the process: a full collection that visits them takes 30 ms.
                gc.collect()
                gc.freeze()
                release_memory()
            gc.enable()
            # After the engine has started its threads, which are lowered too, once the worker is as good as ready.
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
    with _log_storage_errors(_log):
        liveness.record_heartbeat(db, owner)
    try:
        yield
    finally:
        with _log_storage_errors(_log):
            liveness.unregister(db, owner)


def make_engine(settings: Settings, owner: str) -> QueryEngine:
    """Make the worker's engine, limited in memory and to the files of facts and its spill."""
    with translate_io_errors(settings.spill_root):
        return QueryEngine(
            settings.worker_memory,
            settings.worker_threads or resources.count_cores(),
            liveness.spill_folder(settings, owner),
            within=(settings.facts_root, settings.cache_root, settings.files_root),
            # A copy of an object store's file is touched at each use, after which DuckDB reads its footer again.
            keeps_footers=not settings.facts_url,
        )


class Worker:
    """Claims on one thread, keeps leases on another, makes reports on `slots` and one more.

    An isolated worker makes only suspects, and ends when none is due.
    """

    def __init__(
        self,
        settings: Settings,
        db: Database,
        engine: QueryEngine,
        owner: str,
        events: Subscription,
        *,
        isolated: bool = False,
        reports: int = REPORTS,
        room_seconds: float = ROOM_SECONDS,
        express_seconds: float = EXPRESS_SECONDS,
    ) -> None:
        self._room_seconds = room_seconds
        self._express_seconds = express_seconds
        self._estimates = Estimates(settings)
        self._settings = settings
        self._db = db
        self._engine = engine
        self._owner = owner
        self._events = events
        self._isolated = isolated
        self._reports = reports
        self._made = 0
        self._running: set[RunningAttempt] = set()
        self._running_lock = threading.Lock()
        self._stopping = threading.Event()
        self._ended = threading.Event()

    def stop(self) -> None:
        """Stop claiming and let `run` return. Safe to call from a signal handler."""
        self._stopping.set()
        self._events.wake()

    def run(self) -> None:
        """Make reports until `stop`, or until it has made enough (see REPORTS), then drain."""
        keeper = threading.Thread(target=self._keep_leases, name="keeper")
        keeper.start()
        try:
            self._claim_until_stopped()
        finally:
            # Also on an error: a process whose lease keeper alone goes on would never end, nor be restarted.
            self._ended.set()
            keeper.join()

    def _claim_until_stopped(self) -> None:
        with ThreadPoolExecutor(self._settings.slots + 1, thread_name_prefix="report") as pool:
            while not self._stopping.is_set() and not self._is_spent():
                try:
                    claim = self._claim()
                except StorageError as error:
                    _log.warning("the queue can't be read, trying again", reason=str(error))
                    claim = None
                if claim is None:
                    if self._isolated and not self._list_running():
                        return
                    self._events.wait()
                else:
                    running = RunningAttempt(claim, self._engine.session(), is_express=self._is_full())
                    with self._running_lock:
                        self._running.add(running)
                    pool.submit(self._make_report, running)
                    running.session.underway.wait(_HEAD_START)
            self._drain()

    def _keep_leases(self) -> None:
        keeper = LeaseKeeper(
            self._settings,
            self._db,
            running=self._list_running,
            ready="" if self._isolated else self._owner,
            express_seconds=self._express_seconds,
            estimates=self._estimates,
        )
        memory = RestMemory()
        with closing(keeper):
            while not self._ended.wait(WATCH_SECONDS):
                keeper.tick()
                if self._is_express_open():
                    self._events.wake()
                self._engine.limit_footers()
                memory.check(self._made, at_rest=not self._list_running(), now=time.monotonic())

    def _is_spent(self) -> bool:
        running = self._list_running()
        has_long = any(each.seconds > self._express_seconds for each in running)
        return self._made >= self._reports and (not running or (self._made >= 2 * self._reports and not has_long))

    def _claim(self) -> Claim | None:
        self._promote_express()
        express = self._is_full()
        if express and not self._is_express_open():
            return None
        return jobs.claim(
            self._db,
            self._owner,
            running=self._settings.running_limit,
            lease_seconds=self._settings.lease_seconds,
            suspect=self._isolated,
            beside=bool(self._list_running()),
            express=express,
        )

    def _is_full(self) -> bool:
        return sum(not each.is_express for each in self._list_running()) >= self._settings.slots

    def _is_express_open(self) -> bool:
        """Whether every slot, and no express one, is held by a report that takes long."""
        running, limit = self._list_running(), self._express_seconds
        return (
            not self._isolated
            and len(running) == self._settings.slots
            and all(each.seconds > limit and not each.is_express for each in running)
        )

    def _promote_express(self) -> None:
        """Let a slot that has become free take over what the express slot makes."""
        for each in self._list_running():
            if each.is_express and each.stop is None and not self._is_full():
                each.is_express = False

    def _drain(self) -> None:
        until = time.monotonic() + self._settings.drain_seconds
        while running := self._list_running():
            self._promote_express()
            if time.monotonic() >= until:
                for each in running:
                    each.interrupt(StopReason.LEAVING)
            time.sleep(0.05)

    def _list_running(self) -> tuple[RunningAttempt, ...]:
        with self._running_lock:
            return tuple(self._running)

    def _make_report(self, running: RunningAttempt) -> None:
        try:
            with ExitStack() as afterwards:
                afterwards.callback(self._release, running)
                with trace_attempt(running.claim):
                    self._attempt_report(running, afterwards)
        except Exception:  # noqa: BLE001 - the pool would tell nobody; the job is requeued when its lease runs out
            _log.exception("the end of an attempt was not recorded", report=running.claim.report_id)

    def _release(self, running: RunningAttempt) -> None:
        """Free the attempt's slot; what it left to do afterwards is done."""
        with self._running_lock:
            self._running.discard(running)
            self._made += 1
        running.session.close()
        self._events.wake()

    def _attempt_report(self, running: RunningAttempt, afterwards: ExitStack) -> None:
        claim = running.claim
        log = _log.bind(report=claim.report_id, attempt=claim.attempt)
        if claim.suspect:
            oversize.note_suspect(self._db, self._settings, claim)
        try:
            record = attempt.make_report(self._db, self._settings, claim, running.session, clock, self._stopping)
            seconds = round(time.monotonic() - running.started_at, 3)
            log.info("report finished", rows=record.rows, bytes=record.bytes, seconds=seconds)
            afterwards.callback(self._learn, running)
            current_span().set("reelport.report.rows", record.rows)
            current_span().set("reelport.report.bytes", record.bytes)
        except Cancelled:
            self._settle_interrupted(running, log)
        except LeaseLost as error:  # what failed beside it is told too: it may be the disk after all
            self._settle_interrupted(running, log.bind(cause=str(error.__cause__)) if error.__cause__ else log)
        except (StateUnavailable, StateLocked) as error:  # the worker stops; where it can't say so, the lease runs out
            log.warning("attempt interrupted", reason=str(error))
            current_span().fail(error.code)
            self._settle(lambda: jobs.give_back(self._db, claim), log)
        except (DiskFull, EngineUnavailable, StoreUnavailable) as error:
            self._wait(claim, error, log)
        except Exception as error:  # noqa: BLE001 - whatever it was, the report must reach a final state
            self._handle_failure(claim, error, log)

    def _learn(self, running: RunningAttempt) -> None:
        """Learn how long such a report takes. Of the quick ones the first tells enough."""
        running.spend(len(self._list_running()))
        claim = running.claim
        if running.expected is None and self._estimates.speeds.knows(claim.query, claim.channels):
            return
        with _log_storage_errors(_log):
            self._estimates.learn(claim.query, claim.channels, claim.versions, running.spent)

    def _settle_interrupted(self, running: RunningAttempt, log: Log) -> None:
        """Requeue or fail the job of an interrupted attempt, by the reason of the interruption."""
        why = running.stop or StopReason.TAKEN
        log.info("attempt interrupted", reason=why.value)
        current_span().fail(why.name.lower())
        match why:
            case StopReason.LEAVING:
                self._settle(lambda: jobs.give_back(self._db, running.claim), log)
            case StopReason.LATE:
                told = oversize.describe_too_late(self._settings, running.claim, running.measure_progress())
                code = ReasonCode.TOO_LATE
                self._settle(lambda: jobs.fail(self._db, running.claim, told, clock(), code=code), log)
            case StopReason.LONG:
                self._settle(lambda: jobs.postpone(self._db, running.claim), log)
            case StopReason.TAKEN:
                pass

    def _settle(self, work: Callable[[], object], log: Log) -> None:
        with _log_storage_errors(log):
            sit_out(work, self._stopping)

    def _handle_failure(self, claim: Claim, error: Exception, log: Log) -> None:
        """Retry with backoff, or fail the report after its last attempt or for a wrong request."""
        known = isinstance(error, ReelportError)
        reason = str(error) if known else f"{type(error).__name__}: {error}"
        code = error.code if isinstance(error, ReelportError) else InternalError.code
        code = OutOfMemory.code if isinstance(error, MemoryError) else code
        last = claim.failures + 1 >= deaths.ATTEMPTS or isinstance(error, RequestError)
        log.warning("attempt failed", reason=reason, last=last, exc_info=None if known else error)
        current_span().fail(code)

        told: str | None = None
        if code == OutOfMemory.code and last and not claim.suspect:
            told = oversize.describe_too_large(self._settings, claim)

        def record() -> None:
            if code == OutOfMemory.code and deaths.isolate(self._db, claim, reason):
                log.info("attempt is made again alone")
            elif last:
                jobs.fail(self._db, claim, reason, clock(), code=code, partner_reason=told)
            else:
                jobs.retry(self._db, claim, reason, pause_seconds=4**claim.failures, code=code)

        self._settle(record, log)

    def _wait(self, claim: Claim, error: DiskFull | EngineUnavailable | StoreUnavailable, log: Log) -> None:
        """Requeue for half the time waited so far (1 to 60 s), and fail after ROOM_SECONDS in all."""
        match error:
            case DiskFull():
                what, advice, event = "room", "Make room", "no room on the disk"
            case EngineUnavailable():
                what, advice, event = "the engine", "Bring it back", "no engine for large reports"
            case StoreUnavailable():
                what, advice, event = "the object store", "Bring it back", "no object store"
        left = self._room_seconds - claim.waited_for_room
        pause = min(max(claim.waited_for_room / 2, _LEAST_ROOM_PAUSE), jobs.LONGEST_PAUSE, left)
        log.warning(event, reason=str(error), waited=claim.waited_for_room, pause=pause)
        current_span().fail(error.code)
        if left <= 0:
            waited = f"It waited {claim.waited_for_room:.0f} seconds for {what}. {advice}, then ask again."
            self._settle(lambda: jobs.fail(self._db, claim, f"{error}. {waited}", clock(), code=error.code), log)
        else:
            waits = f"{error}. It waits for {what}, {left:.0f} seconds at most."
            self._settle(lambda: jobs.wait_for_room(self._db, claim, waits, pause, code=error.code), log)


@contextmanager
def _log_storage_errors(log: Log) -> Iterator[None]:
    """Log a StorageError of the state instead: the job is requeued when its lease runs out."""
    try:
        yield
    except StorageError as error:
        log.warning("the state can't be written", reason=str(error))


_NOBODY = Tenant(frozenset())


def warm_up(root: Path, engine: QueryEngine, folder: Path) -> None:
    """Make a report over each table in `folder`, for a tenant without channels, and delete it.

    This opens the log of every table and runs the whole engine, but reads no file of facts: a damaged file must fail
    only the reports that need it. Errors are logged; a report that meets the same error fails with it. An object store
    that is away ends it soon: reports wait for that.
    """
    today = datetime.now(UTC).date()
    for query in _choose_queries(today):
        draft = folder / CSV.file_name("warm-up")
        session = engine.session()
        try:
            with retry_for(BRIEF_SECONDS):
                snapshot = pin(root, tables_of(query))
            session.write(plan_pieces(query, _NOBODY, snapshot), draft)
        except ReelportError as error:
            _log.warning("warm-up failed", tables=sorted(tables_of(query)), reason=str(error))
            if isinstance(error, StoreUnavailable):
                return
        finally:
            session.close()
            draft.unlink(missing_ok=True)


def _choose_queries(day: date) -> Iterator[ReportQuery]:
    """Choose valid queries over a day that together read every table."""
    days = next(dimension for dimension in Dimension if dimension.grain is Grain.DAY)
    first = next(iter(Metric))
    asked: set[str] = set()
    for metric, dimension in [*((metric, days) for metric in Metric), *((first, dimension) for dimension in Dimension)]:
        query = ReportQuery.of([metric.name], [dimension.name], day, day)
        if not tables_of(query) <= asked and not problems(query, today=day):
            asked |= tables_of(query)
            yield query
