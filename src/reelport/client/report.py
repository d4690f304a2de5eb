"""A report that was asked for: look at it, wait for it, download it. Blocking and asyncio."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from reelport.client.events import Progress
from reelport.client.flows import download, fetch, lifecycle
from reelport.client.flows.download import Downloaded
from reelport.client.flows.lifecycle import ReportState
from reelport.client.flows.runner import DEADLINE, AsyncRunner, Runner, to_seconds, warn
from reelport.client.flows.scratch import fetch_to
from reelport.client.listener import make_listener
from reelport.client.session import Session
from reelport.client.steps import Flow
from reelport.query import ReportQuery

if TYPE_CHECKING:
    from reelport.client.results.tables import Table


class _Handle(ABC):
    """A report's token, query where known, last state; what its methods promise.

    A twin of a method has its own signature, and its text from here: `help()` and editors show it for both.
    """

    def __init__(self, session: Session, state: ReportState, query: ReportQuery | None) -> None:
        self._session = session
        self._state = state
        self.query = query

    @property
    def token(self) -> str:
        """The token that finds the report again: `client.reports.attach(token)`."""
        return self._state.token

    @property
    def status(self) -> str:
        """The status at the last look: a `ReportStatus`, or a word that this version doesn't know."""
        return self._state.status

    def __repr__(self) -> str:
        return f"{type(self).__name__}(token={self.token!r}, status={self.status!r})"

    def _repr_html_(self) -> str:
        """Show the report in a notebook."""
        from reelport.client.results.notebook_views import render_report  # noqa: PLC0415 - notebooks alone need it

        return render_report(type(self).__name__, self.token, self.status, self.query)

    @abstractmethod
    def refresh(self) -> object:
        """Look once. Raises ReportExpired when the service doesn't, or no longer, know the report."""

    @abstractmethod
    def wait(self, *args: Any, **options: Any) -> object:
        """Wait until the report can be downloaded.

        Raises NotFinished after `deadline` (seconds), ReportFailed, ReportExpired.
        """

    @abstractmethod
    def download(self, *args: Any, **options: Any) -> object:
        """Write the whole CSV to `to`, in place of a file; on an error leave that and raise.

        Without `to`, returns a table, whose temporary file is removed with it. With `any_columns` the report may have
        other columns than asked for.
        """

    def _refresh(self) -> Flow[None]:
        tell = make_listener(self._session, warn)
        row = yield from fetch.recall_row(self._session, self.token)
        self._state = yield from lifecycle.look_recorded(self._session, row, self.token, tell)

    def _wait(self, deadline: float | timedelta, progress: Progress | None) -> Flow[None]:
        tell, left = make_listener(self._session, progress), to_seconds(deadline)
        row = yield from fetch.recall_row(self._session, self.token)
        self._state = yield from lifecycle.wait_recorded(self._session, row, self.token, tell, deadline=left)

    def _download(
        self, to: str | os.PathLike[str] | None, progress: Progress | None, *, any_columns: bool
    ) -> Flow[Table | Downloaded]:
        tell = make_listener(self._session, progress)
        return fetch_to(to, partial(self._fetch, tell=tell, any_columns=any_columns))

    def _fetch(self, target: Path, tell: Progress, *, any_columns: bool) -> Flow[Downloaded]:
        row = yield from fetch.recall_row(self._session, self.token)
        if not self._state.ready:
            self._state = yield from download.look_up_links(self._session, self.token, tell)
        return (
            yield from fetch.download_recorded(
                self._session, row, self._state, self.query, target, tell, any_columns=any_columns
            )
        )


class Report(_Handle):
    """A report that a `Client` asked for or attached to."""

    def __init__(self, run: Runner, session: Session, state: ReportState, query: ReportQuery | None) -> None:
        super().__init__(session, state, query)
        self._run = run

    def refresh(self) -> Report:
        self._run(self._refresh())
        return self

    def wait(self, *, deadline: float | timedelta = DEADLINE, progress: Progress | None = None) -> Report:
        self._run(self._wait(deadline, progress))
        return self

    @overload
    def download(self, to: None = None, *, progress: Progress | None = None, any_columns: bool = False) -> Table: ...
    @overload
    def download(
        self, to: str | os.PathLike[str], *, progress: Progress | None = None, any_columns: bool = False
    ) -> Downloaded: ...
    def download(
        self, to: str | os.PathLike[str] | None = None, *, progress: Progress | None = None, any_columns: bool = False
    ) -> Table | Downloaded:
        return self._run(self._download(to, progress, any_columns=any_columns))


class AsyncReport(_Handle):
    """A report that an `AsyncClient` asked for or attached to."""

    def __init__(self, run: AsyncRunner, session: Session, state: ReportState, query: ReportQuery | None) -> None:
        super().__init__(session, state, query)
        self._run = run

    async def refresh(self) -> AsyncReport:
        await self._run(self._refresh())
        return self

    async def wait(self, *, deadline: float | timedelta = DEADLINE, progress: Progress | None = None) -> AsyncReport:
        await self._run(self._wait(deadline, progress))
        return self

    @overload
    async def download(
        self, to: None = None, *, progress: Progress | None = None, any_columns: bool = False
    ) -> Table: ...
    @overload
    async def download(
        self, to: str | os.PathLike[str], *, progress: Progress | None = None, any_columns: bool = False
    ) -> Downloaded: ...
    async def download(
        self, to: str | os.PathLike[str] | None = None, *, progress: Progress | None = None, any_columns: bool = False
    ) -> Table | Downloaded:
        return await self._run(self._download(to, progress, any_columns=any_columns))
