"""`client.reports`: submit, attach and run reports. Blocking and asyncio."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, overload

from reelport.client.events import Progress
from reelport.client.flows import fetch
from reelport.client.flows.download import Downloaded
from reelport.client.flows.lifecycle import ReportState
from reelport.client.flows.runner import DEADLINE, AsyncRunner, Runner, to_seconds
from reelport.client.flows.scratch import fetch_to
from reelport.client.listener import make_listener
from reelport.client.ranges.reports import AsyncRangeReports, RangeReports
from reelport.client.report import AsyncReport, Report
from reelport.client.session import Session
from reelport.client.steps import Flow
from reelport.errors import UsageError
from reelport.query import ReportQuery
from reelport.wire import ReportStatus

if TYPE_CHECKING:
    from reelport.client.results.tables import Table


class _ReportMethods(ABC):
    """What methods of `Reports` and `AsyncReports` promise; the twins' signatures follow.

    `help()` and editors show a method's text from here.
    """

    _session: Session

    @abstractmethod
    def submit(self, *args: Any, **options: Any) -> object:
        """Ask for a report, or reuse an earlier one (see `run`).

        Raises QueryRefused with every problem, before anything is sent where possible; SlotsFull when all
        slots of the key stayed taken for `deadline` seconds.
        """

    @abstractmethod
    def attach(self, *args: Any, **options: Any) -> object:
        """Return a report that was asked for earlier, here or elsewhere; sends nothing.

        With the query, a download checks the report's columns against it.
        """

    @abstractmethod
    def run(self, *args: Any, **options: Any) -> object:
        """Ask for a report, wait for it and download it.

        Called again after a stop at any point, it goes on where it stopped: a report that was asked for and not
        delivered is always reused. After delivery, a Reelport service is asked again, as it gives the same report
        while nothing changed; another host's report is reused until it expires, unless its range was not over
        when it was asked for. `fresh` asks anew even so. Without `to`, returns a table, whose temporary file is
        removed with it.
        """

    def _submit(
        self, query: ReportQuery, deadline: float | timedelta, progress: Progress | None, *, fresh: bool
    ) -> Flow[ReportState]:
        tell = make_listener(self._session, progress)
        return fetch.submit(self._session, query, tell, deadline=to_seconds(deadline), fresh=fresh)

    def _fetch(
        self,
        query: ReportQuery,
        to: str | os.PathLike[str] | None,
        deadline: float | timedelta,
        progress: Progress | None,
        *,
        fresh: bool,
    ) -> Flow[Table | Downloaded]:
        tell, limit = make_listener(self._session, progress), to_seconds(deadline)
        return fetch_to(to, lambda target: fetch.fetch(self._session, query, target, tell, deadline=limit, fresh=fresh))


class Reports(_ReportMethods, RangeReports):
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
        state = self._run(self._submit(query, deadline, progress, fresh=fresh))
        return Report(self._run, self._session, state, query)

    def attach(self, token: str, query: ReportQuery | None = None) -> Report:
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
        return self._run(self._fetch(query, to, deadline, progress, fresh=fresh))


class AsyncReports(_ReportMethods, AsyncRangeReports):
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
        state = await self._run(self._submit(query, deadline, progress, fresh=fresh))
        return AsyncReport(self._run, self._session, state, query)

    def attach(self, token: str, query: ReportQuery | None = None) -> AsyncReport:
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
        return await self._run(self._fetch(query, to, deadline, progress, fresh=fresh))


def _make_unseen_state(token: str) -> ReportState:
    if not token.strip():
        raise UsageError("The report's token is empty.")
    return ReportState(token, ReportStatus.IN_PROGRESS)


Sleep = Callable[[float], None]
AsyncSleep = Callable[[float], Awaitable[None]]
