"""The methods of a client that ask for any range: plan it, run it. Twins for threads and for asyncio."""

from __future__ import annotations

import os
from datetime import timedelta
from functools import partial

from reelport.client.deadline import DEADLINE
from reelport.client.driving.runner import AsyncRunner, Runner, seconds
from reelport.client.driving.steps import Flow, work
from reelport.client.events import Progress
from reelport.client.files.part import checked_target
from reelport.client.listener import listener
from reelport.client.ranges.folder import checked_folder
from reelport.client.ranges.plan import Plan, plan
from reelport.client.ranges.result import Ranged
from reelport.client.ranges.run import keep_windows as kept
from reelport.client.ranges.run import run_range
from reelport.client.session import Session
from reelport.query import ReportQuery


class RangeReports:
    """The part of `Reports` that knows ranges."""

    _run: Runner
    _session: Session

    def plan(self, query: ReportQuery) -> Plan:
        """The windows that a query over any range takes, how they are merged, and what is done already.

        Calls nothing: it reads the ledger alone. Raises QueryRefused for whatever is wrong beside the length.
        """
        return self._run(work(partial(plan, self._session, query)))

    def run_range(
        self,
        query: ReportQuery,
        to: str | os.PathLike[str],
        *,
        deadline: float | timedelta = DEADLINE,
        progress: Progress | None = None,
        fresh: bool = False,
        keep_windows: bool = False,
    ) -> Ranged:
        """The report of a query over any range: the file that one report would be, made of windows.

        Windows are asked for two at a time, each with `deadline` seconds; one whose report fails is cut in two,
        down to a day. Run again after it was stopped, it goes on where it was. With `keep_windows` the windows
        stay files of their own in the folder `to`. Raises MergeRefused, before anything is asked for, where windows
        can't be added up; Partial where some windows are here and others can't be had.
        """
        tell, limit = listener(self._session, progress), seconds(deadline)
        return self._run(_flow(self._session, query, to, tell, limit, fresh=fresh, apart=keep_windows))


class AsyncRangeReports:
    """The part of `AsyncReports` that knows ranges."""

    _run: AsyncRunner
    _session: Session

    async def plan(self, query: ReportQuery) -> Plan:
        """The windows that a query over any range takes, how they are merged, and what is done already.

        Calls nothing: it reads the ledger alone. Raises QueryRefused for whatever is wrong beside the length.
        """
        return await self._run(work(partial(plan, self._session, query)))

    async def run_range(
        self,
        query: ReportQuery,
        to: str | os.PathLike[str],
        *,
        deadline: float | timedelta = DEADLINE,
        progress: Progress | None = None,
        fresh: bool = False,
        keep_windows: bool = False,
    ) -> Ranged:
        """The report of a query over any range: the file that one report would be, made of windows.

        Windows are asked for two at a time, each with `deadline` seconds; one whose report fails is cut in two,
        down to a day. Run again after it was stopped, it goes on where it was. With `keep_windows` the windows
        stay files of their own in the folder `to`. Raises MergeRefused, before anything is asked for, where windows
        can't be added up; Partial where some windows are here and others can't be had.
        """
        tell, limit = listener(self._session, progress), seconds(deadline)
        return await self._run(_flow(self._session, query, to, tell, limit, fresh=fresh, apart=keep_windows))


def _flow(
    session: Session,
    query: ReportQuery,
    to: str | os.PathLike[str],
    tell: Progress,
    deadline: float,
    *,
    fresh: bool,
    apart: bool,
) -> Flow[Ranged]:
    if apart:
        return kept(session, query, checked_folder(to), tell, deadline=deadline, fresh=fresh)
    return run_range(session, query, checked_target(to), tell, deadline=deadline, fresh=fresh)
