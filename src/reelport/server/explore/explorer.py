"""Computes views in this process: a few at a time, within a budget, while somebody waits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import anyio
import anyio.to_thread

from reelport.engine.tenant import Tenant
from reelport.errors import OutOfMemory, ReelportError, UsageError
from reelport.language import _
from reelport.server.explore.numbers import TOO_LARGE, Numbers, OverBudget
from reelport.server.explore.view import View
from reelport.server.limits.concurrency import Concurrency
from reelport.server.settings import Settings
from reelport.storage.file_cache import holding
from reelport.wording import format_duration

if TYPE_CHECKING:
    from reelport.engine.duckdb.engine import Session
    from reelport.server.explore.view_engine import Outcome, Part, PlannedPart, ViewEngine

_STATEMENTS = 2  # statements of one view that run at the same time, on average

Value = TypeVar("Value")


class Explorer:
    """The views of one process. Use it on the event loop only.

    Its engine is opened by `prepare`, or by the first view. A view that is cancelled, since its client went away, is
    interrupted in the engine: its slot is free when the cancellation has gone through.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._slots = anyio.CapacityLimiter(settings.explore_slots)
        self._partners = Concurrency(-(-settings.explore_slots // 2))
        self._threads = anyio.CapacityLimiter(_STATEMENTS * settings.explore_slots)
        self._closing = anyio.CapacityLimiter(_STATEMENTS * settings.explore_slots)
        self._engine: ViewEngine | None = None
        self._opening = threading.Lock()
        self._closed = False

    def close(self) -> None:
        """Stop what runs, and close the engine."""
        with self._opening:
            self._closed = True
            if self._engine is not None:
                self._engine.close()

    def prepare(self) -> None:
        """Open the engine, which takes half a second. Any thread may call this."""
        with suppress(UsageError):  # the service is about to stop
            self._open_engine()

    async def compute(self, view: View, tenant: Tenant, partner: Hashable, *, share: int = 1) -> Numbers:
        """Compute the numbers of a view, each part whole or over the budget.

        It may read the budget's part by `share`: half of it for 2. Parts that are not done within its time are over it.
        StorageError when a table can't be read.
        """
        engine = await anyio.to_thread.run_sync(self._open_engine)
        outcomes: dict[Part, Outcome] = {}
        failures: list[ReelportError] = []

        async def run(parts: Mapping[Part, PlannedPart]) -> None:
            try:
                outcomes.update(await self._run_in_session(engine, partial(engine.run, planned=parts)))
            except ReelportError as error:  # kept, since the task group would raise it within a group
                failures.append(error)

        with holding(), anyio.move_on_after(self._settings.explore_seconds):
            async with self._partners.turn(partner), self._slots:
                planned = await anyio.to_thread.run_sync(engine.plan, view, tenant, share)
                outcomes |= {part: plan.outcome for part, plan in planned.items() if plan.outcome is not None}
                async with anyio.create_task_group() as tasks:
                    for parts in engine.group(planned):
                        tasks.start_soon(run, parts)
        if failures:
            raise failures[0]
        return engine.read(view, outcomes, self._late)

    async def run(
        self, partner: Hashable, work: Callable[[ViewEngine, Session], Value], seconds: float | None = None
    ) -> Value | OverBudget:
        """Run work that is no view in a slot and a session, within a view's memory and time.

        Its time may be other `seconds`.
        """
        engine = await anyio.to_thread.run_sync(self._open_engine)
        with holding(), anyio.move_on_after(seconds or self._settings.explore_seconds):
            async with self._partners.turn(partner), self._slots:
                try:
                    return await self._run_in_session(engine, partial(work, engine))
                except OutOfMemory:
                    return OverBudget(_(TOO_LARGE))
        return self._late

    @property
    def running_views(self) -> int:
        """How many views hold a slot now."""
        return int(self._slots.borrowed_tokens)

    @property
    def running_statements(self) -> int:
        """How many statements run in the engine now."""
        return int(self._threads.borrowed_tokens)

    @property
    def _late(self) -> OverBudget:
        duration = format_duration(self._settings.explore_seconds)
        return OverBudget(_("It took longer than %(duration)s.", duration=duration))

    async def _run_in_session(self, engine: ViewEngine, work: Callable[[Session], Value]) -> Value:
        """Work with a session in a thread. A cancellation interrupts it and waits for its end."""
        session = engine.open_session()
        try:
            return await anyio.to_thread.run_sync(work, session, abandon_on_cancel=True, limiter=self._threads)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(session.close, limiter=self._closing)

    def _open_engine(self) -> ViewEngine:
        from reelport.server.explore.view_engine import ViewEngine  # noqa: PLC0415 - loads DuckDB

        with self._opening:
            if self._closed:
                raise UsageError("The service is about to stop.")
            if self._engine is None:
                self._engine = ViewEngine(self._settings)
            return self._engine
