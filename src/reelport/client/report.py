"""A report in hand: wait for it, download it, look at it again. Twins for threads and for asyncio."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from datetime import timedelta

from reelport.client import fetch, follow
from reelport.client.deadline import DEADLINE
from reelport.client.driving.runner import AsyncRunner, Runner, seconds
from reelport.client.driving.steps import Flow
from reelport.client.events import Progress
from reelport.client.files import download
from reelport.client.files.download import Downloaded
from reelport.client.files.part import checked_target
from reelport.client.flow import ReportState
from reelport.client.listener import listener
from reelport.client.ranges.reports import AsyncRangeReports, RangeReports
from reelport.client.session import Session
from reelport.errors import UsageError
from reelport.query import ReportQuery
from reelport.wire import ReportStatus


class _Handle:
    """What both twins know: a report's token, its query if it was asked for here, and how it stood when last seen."""

    def __init__(self, session: Session, state: ReportState, query: ReportQuery | None) -> None:
        self._session = session
        self._state = state
        self.query = query

    @property
    def token(self) -> str:
        """What finds the report again: `client.reports.attach(token)`."""
        return self._state.token

    @property
    def status(self) -> str:
        """Its status when it was last looked at, a `ReportStatus` or a word that this version doesn't know."""
        return self._state.status

    def __repr__(self) -> str:
        return f"{type(self).__name__}(token={self.token!r}, status={self.status!r})"

    def _download(self, to: str | os.PathLike[str], tell: Progress, *, any_columns: bool) -> Flow[Downloaded]:
        target = checked_target(to)
        row = yield from fetch.remembered(self._session, self.token)
        if not self._state.ready:
            self._state = yield from download.ready(self._session, self.token, tell)
        return (
            yield from fetch.downloaded(
                self._session, row, self._state, self.query, target, tell, any_columns=any_columns
            )
        )

    def _refresh(self, tell: Progress) -> Flow[None]:
        row = yield from fetch.remembered(self._session, self.token)
        self._state = yield from follow.looked(self._session, row, self.token, tell)

    def _wait(self, deadline: float | timedelta, tell: Progress) -> Flow[None]:
        left = seconds(deadline)
        row = yield from fetch.remembered(self._session, self.token)
        self._state = yield from follow.followed(self._session, row, self.token, tell, deadline=left)


class Report(_Handle):
    """A report that a `Client` asked for or took up again."""

    def __init__(self, run: Runner, session: Session, state: ReportState, query: ReportQuery | None) -> None:
        super().__init__(session, state, query)
        self._run = run

    def refresh(self) -> Report:
        """Look once. Raises ReportExpired when the service doesn't know the report (any more)."""
        self._run(self._refresh(listener(self._session)))
        return self

    def wait(self, *, deadline: float | timedelta = DEADLINE, progress: Progress | None = None) -> Report:
        """Wait until it can be downloaded. NotFinished after `deadline` (seconds), ReportFailed, ReportExpired."""
        self._run(self._wait(deadline, listener(self._session, progress)))
        return self

    def download(
        self, to: str | os.PathLike[str], *, progress: Progress | None = None, any_columns: bool = False
    ) -> Downloaded:
        """Put the whole CSV under `to`, in place of what is there, or leave `to` as it is and raise.

        With `any_columns` they may be others than those that were asked for.
        """
        return self._run(self._download(to, listener(self._session, progress), any_columns=any_columns))


class AsyncReport(_Handle):
    """A report that an `AsyncClient` asked for or took up again."""

    def __init__(self, run: AsyncRunner, session: Session, state: ReportState, query: ReportQuery | None) -> None:
        super().__init__(session, state, query)
        self._run = run

    async def refresh(self) -> AsyncReport:
        """Look once. Raises ReportExpired when the service doesn't know the report (any more)."""
        await self._run(self._refresh(listener(self._session)))
        return self

    async def wait(self, *, deadline: float | timedelta = DEADLINE, progress: Progress | None = None) -> AsyncReport:
        """Wait until it can be downloaded. NotFinished after `deadline` (seconds), ReportFailed, ReportExpired."""
        await self._run(self._wait(deadline, listener(self._session, progress)))
        return self

    async def download(
        self, to: str | os.PathLike[str], *, progress: Progress | None = None, any_columns: bool = False
    ) -> Downloaded:
        """Put the whole CSV under `to`, in place of what is there, or leave `to` as it is and raise.

        With `any_columns` they may be others than those that were asked for.
        """
        return await self._run(self._download(to, listener(self._session, progress), any_columns=any_columns))


class Reports(RangeReports):
    """Where a `Client`'s reports are had."""

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
        """Have a report made: ask for it, unless one that was asked for earlier serves (see `run`).

        Raises QueryRefused with every problem, before anything is sent where that can be; SlotsFull when all
        slots of the key were taken for `deadline` seconds.
        """
        tell = listener(self._session, progress)
        submit = fetch.submitted(self._session, query, tell, deadline=seconds(deadline), fresh=fresh)
        state = self._run(submit)
        return Report(self._run, self._session, state, query)

    def attach(self, token: str, query: ReportQuery | None = None) -> Report:
        """A report that was asked for earlier, here or elsewhere; sends nothing.

        With the query its columns are held against what was asked for.
        """
        return Report(self._run, self._session, _unseen(token), query)

    def run(
        self,
        query: ReportQuery,
        to: str | os.PathLike[str],
        *,
        deadline: float | timedelta = DEADLINE,
        progress: Progress | None = None,
        fresh: bool = False,
    ) -> Downloaded:
        """Ask, wait, download: the three steps in one.

        Called again after it was stopped at any point, it goes on where it was: what was asked for and not
        delivered always serves. What was delivered is asked for again at a Reelport service, which gives the same
        report while nothing changed; another host's report serves while it lives, unless its range was not over
        when it was asked for. `fresh` asks anew even so.
        """
        target = checked_target(to)
        tell = listener(self._session, progress)
        flow = fetch.fetch(self._session, query, target, tell, deadline=seconds(deadline), fresh=fresh)
        return self._run(flow)


class AsyncReports(AsyncRangeReports):
    """Where an `AsyncClient`'s reports are had."""

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
        """Have a report made: ask for it, unless one that was asked for earlier serves (see `run`).

        Raises QueryRefused with every problem, before anything is sent where that can be; SlotsFull when all
        slots of the key were taken for `deadline` seconds.
        """
        tell = listener(self._session, progress)
        submit = fetch.submitted(self._session, query, tell, deadline=seconds(deadline), fresh=fresh)
        state = await self._run(submit)
        return AsyncReport(self._run, self._session, state, query)

    def attach(self, token: str, query: ReportQuery | None = None) -> AsyncReport:
        """A report that was asked for earlier, here or elsewhere; sends nothing.

        With the query its columns are held against what was asked for.
        """
        return AsyncReport(self._run, self._session, _unseen(token), query)

    async def run(
        self,
        query: ReportQuery,
        to: str | os.PathLike[str],
        *,
        deadline: float | timedelta = DEADLINE,
        progress: Progress | None = None,
        fresh: bool = False,
    ) -> Downloaded:
        """Ask, wait, download: the three steps in one.

        Called again after it was stopped at any point, it goes on where it was: what was asked for and not
        delivered always serves. What was delivered is asked for again at a Reelport service, which gives the same
        report while nothing changed; another host's report serves while it lives, unless its range was not over
        when it was asked for. `fresh` asks anew even so.
        """
        target = checked_target(to)
        tell = listener(self._session, progress)
        flow = fetch.fetch(self._session, query, target, tell, deadline=seconds(deadline), fresh=fresh)
        return await self._run(flow)


def _unseen(token: str) -> ReportState:
    if not token.strip():
        raise UsageError("The report's token is empty.")
    return ReportState(token, ReportStatus.IN_PROGRESS)


Sleep = Callable[[float], None]
AsyncSleep = Callable[[float], Awaitable[None]]
