"""The methods of `client.reports` for any range: plan it, run it. Blocking and asyncio."""

from __future__ import annotations

import os
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Literal, overload

from reelport.client.deadline import DEADLINE
from reelport.client.events import Progress
from reelport.client.files.part import resolve_csv_target
from reelport.client.flows.runner import AsyncRunner, Runner, to_seconds
from reelport.client.flows.scratch import fetch_table
from reelport.client.listener import make_listener
from reelport.client.ranges.folder import resolve_folder
from reelport.client.ranges.plan import Plan, plan_range
from reelport.client.ranges.result import Ranged
from reelport.client.ranges.run import keep_windows as kept
from reelport.client.ranges.run import run_range
from reelport.client.results.tables import Table
from reelport.client.session import Session
from reelport.client.steps import Flow, work
from reelport.errors import UsageError
from reelport.query import ReportQuery


class RangeReports:
    """The methods of `Reports` for any range."""

    _run: Runner
    _session: Session

    def plan(self, query: ReportQuery) -> Plan:
        """Plan a query over any range: its windows, their merge, and what the ledger already has.

        Sends no request. Raises QueryRefused for everything wrong with the query except its length.
        """
        return self._run(work(partial(plan_range, self._session, query)))

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
        """Fetch the report of a query over any range in windows, and merge them into the file of one long report.

        Asks for two windows at a time, each with `deadline` seconds; halves a window whose report fails, down to a
        day. Run again after a stop, it goes on where it stopped. With `keep_windows` the windows stay separate files
        in the folder `to`. Raises MergeRefused, before it asks for anything, where windows can't be added up; Partial
        where some windows are on disk and others can't be fetched. Without `to`, returns a table, whose temporary
        file is removed with it.
        """
        tell, limit = make_listener(self._session, progress), to_seconds(deadline)
        start = partial(_build_merged_flow, self._session, query, tell, limit, fresh=fresh)
        if keep_windows:
            return self._run(_build_apart_flow(self._session, query, to, tell, limit, fresh=fresh))
        if to is None:
            return self._run(fetch_table(start))
        return self._run(start(resolve_csv_target(to)))


class AsyncRangeReports:
    """The methods of `AsyncReports` for any range."""

    _run: AsyncRunner
    _session: Session

    async def plan(self, query: ReportQuery) -> Plan:
        """Plan a query over any range: its windows, their merge, and what the ledger already has.

        Sends no request. Raises QueryRefused for everything wrong with the query except its length.
        """
        return await self._run(work(partial(plan_range, self._session, query)))

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
        """Fetch the report of a query over any range in windows, and merge them into the file of one long report.

        Asks for two windows at a time, each with `deadline` seconds; halves a window whose report fails, down to a
        day. Run again after a stop, it goes on where it stopped. With `keep_windows` the windows stay separate files
        in the folder `to`. Raises MergeRefused, before it asks for anything, where windows can't be added up; Partial
        where some windows are on disk and others can't be fetched. Without `to`, returns a table, whose temporary
        file is removed with it.
        """
        tell, limit = make_listener(self._session, progress), to_seconds(deadline)
        start = partial(_build_merged_flow, self._session, query, tell, limit, fresh=fresh)
        if keep_windows:
            return await self._run(_build_apart_flow(self._session, query, to, tell, limit, fresh=fresh))
        if to is None:
            return await self._run(fetch_table(start))
        return await self._run(start(resolve_csv_target(to)))


def _build_merged_flow(
    session: Session, query: ReportQuery, tell: Progress, deadline: float, target: Path, *, fresh: bool
) -> Flow[Ranged]:
    return run_range(session, query, target, tell, deadline=deadline, fresh=fresh)


def _build_apart_flow(
    session: Session,
    query: ReportQuery,
    to: str | os.PathLike[str] | None,
    tell: Progress,
    deadline: float,
    *,
    fresh: bool,
) -> Flow[Ranged]:
    if to is None:
        raise UsageError("Windows that are kept apart are files of their own: name the folder for them as `to`.")
    return kept(session, query, resolve_folder(to), tell, deadline=deadline, fresh=fresh)
