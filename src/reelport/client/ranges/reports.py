"""The methods of `client.reports` for any range: plan it, run it. Blocking and asyncio."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, overload

from reelport.client.events import Progress
from reelport.client.flows.download import Ranged
from reelport.client.flows.runner import DEADLINE, AsyncRunner, Runner, to_seconds
from reelport.client.flows.scratch import fetch_to
from reelport.client.listener import make_listener
from reelport.client.ranges.folder import resolve_folder
from reelport.client.session import Session
from reelport.client.steps import Flow, work
from reelport.errors import UsageError
from reelport.query import ReportQuery

if TYPE_CHECKING:
    from reelport.client.ranges.plan import Plan
    from reelport.client.results.tables import Table


class _RangeMethods(ABC):
    """What the methods of both twins promise for any range; each twin's signature stands below.

    `help()` and editors show a method's text from here.
    """

    _session: Session

    @abstractmethod
    def plan(self, *args: Any, **options: Any) -> object:
        """Plan a query over any range: its windows, their merge, and what the ledger already has.

        Sends no request. Raises QueryRefused for everything wrong with the query except its length.
        """

    @abstractmethod
    def run_range(self, *args: Any, **options: Any) -> object:
        """Fetch a query's report over any range in windows, merged as into one long report.

        Asks for two windows at a time, each with `deadline` seconds; halves a window whose report fails, down to a
        day. Run again after a stop, it goes on where it stopped. With `keep_windows` the windows stay separate files
        in the folder `to`. Raises MergeRefused, before it asks for anything, where windows can't be added up; Partial
        where some windows are on disk and others can't be fetched. Without `to`, returns a table, whose temporary
        file is removed with it.
        """

    def _plan(self, query: ReportQuery) -> Flow[Plan]:
        from reelport.client.ranges.plan import plan_range  # noqa: PLC0415 - what fetches and merges windows

        return work(partial(plan_range, self._session, query))

    def _run_range(
        self,
        query: ReportQuery,
        to: str | os.PathLike[str] | None,
        deadline: float | timedelta,
        progress: Progress | None,
        *,
        fresh: bool,
        keep_windows: bool,
    ) -> Flow[Table | Ranged]:
        from reelport.client.ranges.run import keep_windows as kept  # noqa: PLC0415 - most reports are no range
        from reelport.client.ranges.run import run_range  # noqa: PLC0415 - the same

        session, tell, limit = self._session, make_listener(self._session, progress), to_seconds(deadline)
        if not keep_windows:
            return fetch_to(to, lambda target: run_range(session, query, target, tell, deadline=limit, fresh=fresh))
        if to is None:
            raise UsageError("Windows that are kept apart are files of their own: name the folder for them as `to`.")
        return kept(session, query, resolve_folder(to), tell, deadline=limit, fresh=fresh)


class RangeReports(_RangeMethods):
    """The methods of `Reports` for any range."""

    _run: Runner

    def plan(self, query: ReportQuery) -> Plan:
        return self._run(self._plan(query))

    @overload
    def run_range(
        self,
        query: ReportQuery,
        to: None = None,
        *,
        deadline: float | timedelta = DEADLINE,
        progress: Progress | None = None,
        fresh: bool = False,
        keep_windows: Literal[False] = False,
    ) -> Table: ...
    @overload
    def run_range(
        self,
        query: ReportQuery,
        to: str | os.PathLike[str],
        *,
        deadline: float | timedelta = DEADLINE,
        progress: Progress | None = None,
        fresh: bool = False,
        keep_windows: bool = False,
    ) -> Ranged: ...
    def run_range(
        self,
        query: ReportQuery,
        to: str | os.PathLike[str] | None = None,
        *,
        deadline: float | timedelta = DEADLINE,
        progress: Progress | None = None,
        fresh: bool = False,
        keep_windows: bool = False,
    ) -> Table | Ranged:
        return self._run(self._run_range(query, to, deadline, progress, fresh=fresh, keep_windows=keep_windows))


class AsyncRangeReports(_RangeMethods):
    """The methods of `AsyncReports` for any range."""

    _run: AsyncRunner

    async def plan(self, query: ReportQuery) -> Plan:
        return await self._run(self._plan(query))

    @overload
    async def run_range(
        self,
        query: ReportQuery,
        to: None = None,
        *,
        deadline: float | timedelta = DEADLINE,
        progress: Progress | None = None,
        fresh: bool = False,
        keep_windows: Literal[False] = False,
    ) -> Table: ...
    @overload
    async def run_range(
        self,
        query: ReportQuery,
        to: str | os.PathLike[str],
        *,
        deadline: float | timedelta = DEADLINE,
        progress: Progress | None = None,
        fresh: bool = False,
        keep_windows: bool = False,
    ) -> Ranged: ...
    async def run_range(
        self,
        query: ReportQuery,
        to: str | os.PathLike[str] | None = None,
        *,
        deadline: float | timedelta = DEADLINE,
        progress: Progress | None = None,
        fresh: bool = False,
        keep_windows: bool = False,
    ) -> Table | Ranged:
        return await self._run(self._run_range(query, to, deadline, progress, fresh=fresh, keep_windows=keep_windows))
