"""`client.reports`: submit, attach and run reports. Blocking and asyncio."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import overload

from reelport.client.deadline import DEADLINE
from reelport.client.events import Progress
from reelport.client.files.part import resolve_csv_target
from reelport.client.flows import fetch
from reelport.client.flows.download import Downloaded
from reelport.client.flows.lifecycle import ReportState
from reelport.client.flows.runner import AsyncRunner, Runner, to_seconds
from reelport.client.flows.scratch import fetch_table
from reelport.client.listener import make_listener
from reelport.client.ranges.reports import AsyncRangeReports, RangeReports
from reelport.client.report import AsyncReport, Report
from reelport.client.results.tables import Table
from reelport.client.session import Session
from reelport.client.steps import Flow
from reelport.errors import UsageError
from reelport.query import ReportQuery
from reelport.wire import ReportStatus


class Reports(RangeReports):
    """A `Client`'s reports: ask for them, or attach to earlier ones."""

    def __init__(self, run: Runner, session: Session) -> None:
        self._run = run
        self._session = session

    def submit(
        self,
        query: ReportQuery,
        *,
        deadline: float | timedelta = DEADLINE,
        progress: Progress | None = None,
        fresh: bool = False,
    ) -> Report:
        """Ask for a report, or reuse an earlier one (see `run`).

        Raises QueryRefused with every problem, before anything is sent where possible; SlotsFull when all
        slots of the key stayed taken for `deadline` seconds.
        """
        tell = make_listener(self._session, progress)
        submit = fetch.submit(self._session, query, tell, deadline=to_seconds(deadline), fresh=fresh)
        state = self._run(submit)
        return Report(self._run, self._session, state, query)

    def attach(self, token: str, query: ReportQuery | None = None) -> Report:
        """Return a report that was asked for earlier, here or elsewhere; sends nothing.

        With the query, a download checks the report's columns against it.
        """
        return Report(self._run, self._session, _make_unseen_state(token), query)

    @overload
    def run(
        self,
        query: ReportQuery,
        to: None = None,
        *,
        deadline: float | timedelta = DEADLINE,
        progress: Progress | None = None,
        fresh: bool = False,
    ) -> Table: ...
    @overload
    def run(
        self,
        query: ReportQuery,
        to: str | os.PathLike[str],
        *,
        deadline: float | timedelta = DEADLINE,
        progress: Progress | None = None,
        fresh: bool = False,
    ) -> Downloaded: ...
    def run(
        self,
        query: ReportQuery,
        to: str | os.PathLike[str] | None = None,
        *,
        deadline: float | timedelta = DEADLINE,
        progress: Progress | None = None,
        fresh: bool = False,
    ) -> Table | Downloaded:
        """Ask for a report, wait for it and download it.

        Called again after a stop at any point, it goes on where it stopped: a report that was asked for and not
        delivered is always reused. After delivery, a Reelport service is asked again, as it gives the same report
        while nothing changed; another host's report is reused until it expires, unless its range was not over
        when it was asked for. `fresh` asks anew even so. Without `to`, returns a table, whose temporary file is
        removed with it.
        """
        start = partial(
            _build_flow, self._session, query, make_listener(self._session, progress), to_seconds(deadline), fresh=fresh
        )
        if to is None:
            return self._run(fetch_table(start))
        return self._run(start(resolve_csv_target(to)))


class AsyncReports(AsyncRangeReports):
    """An `AsyncClient`'s reports: ask for them, or attach to earlier ones."""

    def __init__(self, run: AsyncRunner, session: Session) -> None:
        self._run = run
        self._session = session

    async def submit(
        self,
        query: ReportQuery,
        *,
        deadline: float | timedelta = DEADLINE,
        progress: Progress | None = None,
        fresh: bool = False,
    ) -> AsyncReport:
        """Ask for a report, or reuse an earlier one (see `run`).

        Raises QueryRefused with every problem, before anything is sent where possible; SlotsFull when all
        slots of the key stayed taken for `deadline` seconds.
        """
        tell = make_listener(self._session, progress)
        submit = fetch.submit(self._session, query, tell, deadline=to_seconds(deadline), fresh=fresh)
        state = await self._run(submit)
        return AsyncReport(self._run, self._session, state, query)

    def attach(self, token: str, query: ReportQuery | None = None) -> AsyncReport:
        """Return a report that was asked for earlier, here or elsewhere; sends nothing.

        With the query, a download checks the report's columns against it.
        """
        return AsyncReport(self._run, self._session, _make_unseen_state(token), query)

    @overload
    async def run(
        self,
        query: ReportQuery,
        to: None = None,
        *,
        deadline: float | timedelta = DEADLINE,
        progress: Progress | None = None,
        fresh: bool = False,
    ) -> Table: ...
    @overload
    async def run(
        self,
        query: ReportQuery,
        to: str | os.PathLike[str],
        *,
        deadline: float | timedelta = DEADLINE,
        progress: Progress | None = None,
        fresh: bool = False,
    ) -> Downloaded: ...
    async def run(
        self,
        query: ReportQuery,
        to: str | os.PathLike[str] | None = None,
        *,
        deadline: float | timedelta = DEADLINE,
        progress: Progress | None = None,
        fresh: bool = False,
    ) -> Table | Downloaded:
        """Ask for a report, wait for it and download it.

        Called again after a stop at any point, it goes on where it stopped: a report that was asked for and not
        delivered is always reused. After delivery, a Reelport service is asked again, as it gives the same report
        while nothing changed; another host's report is reused until it expires, unless its range was not over
        when it was asked for. `fresh` asks anew even so. Without `to`, returns a table, whose temporary file is
        removed with it.
        """
        start = partial(
            _build_flow, self._session, query, make_listener(self._session, progress), to_seconds(deadline), fresh=fresh
        )
        if to is None:
            return await self._run(fetch_table(start))
        return await self._run(start(resolve_csv_target(to)))


def _build_flow(
    session: Session, query: ReportQuery, tell: Progress, deadline: float, target: Path, *, fresh: bool
) -> Flow[Downloaded]:
    return fetch.fetch(session, query, target, tell, deadline=deadline, fresh=fresh)


def _make_unseen_state(token: str) -> ReportState:
    if not token.strip():
        raise UsageError("The report's token is empty.")
    return ReportState(token, ReportStatus.IN_PROGRESS)


Sleep = Callable[[float], None]
AsyncSleep = Callable[[float], Awaitable[None]]
