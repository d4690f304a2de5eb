"""`client.reports`: plan, submit, attach and run reports, and each report's own handle."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypedDict, TypeVar, Unpack, overload

from reelport.client.events import Progress
from reelport.client.files.download_target import resolve_csv_target, translate_io_errors
from reelport.client.flows import download, fetch, lifecycle
from reelport.client.flows.download import Downloaded, Ranged
from reelport.client.flows.lifecycle import ReportState
from reelport.client.listener import make_listener, warn
from reelport.client.session import Session
from reelport.client.settings.config import DEADLINE
from reelport.client.steps import AsyncRunner, Flow, Runner, to_seconds, work
from reelport.errors import UsageError
from reelport.query import ReportQuery
from reelport.report_details import ReportDetails
from reelport.wire import ReportStatus

if TYPE_CHECKING:
    from reelport.client.ranges.plan import Plan
    from reelport.client.results.tables import Table


Done = TypeVar("Done", bound=Downloaded)


class _RunOptions(TypedDict, total=False):
    """The options of `run` and `run_range`, for overloads; help shows the methods' own."""

    deadline: float | timedelta
    progress: Progress | None
    fresh: bool


class _ReportMethods(ABC):
    """What methods of `Reports` and `AsyncReports` promise; `help()` shows the texts from here."""

    _session: Session

    @abstractmethod
    def submit(self, *args: Any, **options: Any) -> object:
        """Ask for a report, or reuse an earlier one (see `run`).

        Raises QueryRefused with every problem, before it sends the query if possible. Raises SlotsFull if no slot of
        the key becomes free within `deadline` seconds.
        """

    @abstractmethod
    def attach(self, *args: Any, **options: Any) -> object:
        """Return a report that was requested earlier, here or elsewhere. Sends no request.

        If you pass the query, a download checks the report's columns.
        """

    @abstractmethod
    def run(self, *args: Any, **options: Any) -> object:
        """Ask for a report, wait for it and download it.

        If a call is stopped, call again: it continues, because an undelivered report is always reused. After delivery,
        a Reelport service is asked again; it gives the same report while nothing has changed. Another host's report is
        reused until it expires, unless its range was not over when it was requested. `fresh` always asks the
        service. Without `to`, returns a table; its temporary file is deleted with it.
        """

    @abstractmethod
    def plan(self, *args: Any, **options: Any) -> object:
        """Plan a query over any range: its windows, their merge, and what the ledger already has.

        Sends no request. Raises QueryRefused for everything wrong with the query except its length.
        """

    @abstractmethod
    def run_range(self, *args: Any, **options: Any) -> object:
        """Fetch a query's report over any range in windows, merged as into one long report.

        Asks for two windows at a time, each with `deadline` seconds. Halves a window whose report fails, down to a
        day. If a call is stopped, call again: it continues. With `keep_windows` the windows stay separate files in the
        folder `to`. Raises MergeRefused, before it sends a request, if windows can't be merged. Raises Partial if some
        windows are on disk and others can't be fetched. Without `to`, returns a table; its temporary file is deleted
        with it.
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
        return _fetch_to(
            to, lambda target: fetch.fetch(self._session, query, target, tell, deadline=limit, fresh=fresh)
        )

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
        from reelport.client.ranges.run import resolve_folder, run_range  # noqa: PLC0415 - the same

        session, tell, limit = self._session, make_listener(self._session, progress), to_seconds(deadline)
        if not keep_windows:
            return _fetch_to(to, lambda target: run_range(session, query, target, tell, deadline=limit, fresh=fresh))
        if to is None:
            raise UsageError("Windows that are kept apart are files of their own: name the folder for them as `to`.")
        return kept(session, query, resolve_folder(to), tell, deadline=limit, fresh=fresh)


class Reports(_ReportMethods):
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
    def run(self, query: ReportQuery, to: None = None, **options: Unpack[_RunOptions]) -> Table: ...
    @overload
    def run(self, query: ReportQuery, to: str | os.PathLike[str], **options: Unpack[_RunOptions]) -> Downloaded: ...
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

    def plan(self, query: ReportQuery) -> Plan:
        return self._run(self._plan(query))

    @overload
    def run_range(
        self,
        query: ReportQuery,
        to: None = None,
        *,
        keep_windows: Literal[False] = False,
        **options: Unpack[_RunOptions],
    ) -> Table: ...
    @overload
    def run_range(
        self,
        query: ReportQuery,
        to: str | os.PathLike[str],
        *,
        keep_windows: bool = False,
        **options: Unpack[_RunOptions],
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


class AsyncReports(_ReportMethods):
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
    async def run(self, query: ReportQuery, to: None = None, **options: Unpack[_RunOptions]) -> Table: ...
    @overload
    async def run(
        self, query: ReportQuery, to: str | os.PathLike[str], **options: Unpack[_RunOptions]
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

    async def plan(self, query: ReportQuery) -> Plan:
        return await self._run(self._plan(query))

    @overload
    async def run_range(
        self,
        query: ReportQuery,
        to: None = None,
        *,
        keep_windows: Literal[False] = False,
        **options: Unpack[_RunOptions],
    ) -> Table: ...
    @overload
    async def run_range(
        self,
        query: ReportQuery,
        to: str | os.PathLike[str],
        *,
        keep_windows: bool = False,
        **options: Unpack[_RunOptions],
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


def _make_unseen_state(token: str) -> ReportState:
    if not token.strip():
        raise UsageError("The report's token is empty.")
    return ReportState(token, ReportStatus.IN_PROGRESS)


class _Handle(ABC):
    """A report's token, query where known, last state; `help()` shows its texts from here."""

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
        """The last known status: a `ReportStatus`, or a word that this version doesn't know."""
        return self._state.status

    @property
    def details(self) -> ReportDetails | None:
        """What a Reelport service said last of state, place, size and failure, or None."""
        return self._state.details

    def __repr__(self) -> str:
        return f"{type(self).__name__}(token={self.token!r}, status={self.status!r})"

    @abstractmethod
    def refresh(self) -> object:
        """Query the status once. Raises ReportExpired if the service doesn't know the report."""

    @abstractmethod
    def wait(self, *args: Any, **options: Any) -> object:
        """Wait until the report can be downloaded.

        Raises NotFinished after `deadline` (seconds), ReportFailed or its kind for the reason, ReportExpired.
        """

    @abstractmethod
    def download(self, *args: Any, **options: Any) -> object:
        """Write the whole CSV to `to`. On an error, a file that is there stays unchanged.

        Without `to`, returns a table; its temporary file is deleted with it. With `any_columns` the report may have
        other columns than requested.
        """

    def _refresh(self) -> Flow[None]:
        tell = make_listener(self._session, warn)
        row = yield from fetch.recall_row(self._session, self.token)
        self._state = yield from lifecycle.look(self._session, self.token, tell, row=row)

    def _wait(self, deadline: float | timedelta, progress: Progress | None) -> Flow[None]:
        tell, left = make_listener(self._session, progress), to_seconds(deadline)
        row = yield from fetch.recall_row(self._session, self.token)
        self._state = yield from lifecycle.wait(self._session, self.token, tell, row=row, deadline=left)

    def _download(
        self, to: str | os.PathLike[str] | None, progress: Progress | None, *, any_columns: bool
    ) -> Flow[Table | Downloaded]:
        tell = make_listener(self._session, progress)
        return _fetch_to(to, partial(self._fetch, tell=tell, any_columns=any_columns))

    def _fetch(self, target: Path, tell: Progress, *, any_columns: bool) -> Flow[Downloaded]:
        row = yield from fetch.recall_row(self._session, self.token)
        if not self._state.ready:
            self._state = yield from download.look_up_links(self._session, self.token, tell, row)
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


class Scratch:
    """A temporary folder, removed when garbage-collected or when the process ends."""

    def __init__(self) -> None:
        with translate_io_errors(Path(tempfile.gettempdir())):
            self.folder = Path(tempfile.mkdtemp(prefix="reelport-")).resolve()
        self._end = weakref.finalize(self, _remove, self.folder, os.getpid())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._end()


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # and not a forked child
        shutil.rmtree(folder, ignore_errors=True)


def _fetch_to(to: str | os.PathLike[str] | None, fetch: Callable[[Path], Flow[Done]]) -> Flow[Table | Done]:
    """Run a flow that downloads to a path, or to a temporary file, returned as a table."""
    return _fetch_table(fetch) if to is None else fetch(resolve_csv_target(to))


def _fetch_table(fetch: Callable[[Path], Flow[Done]]) -> Flow[Table]:
    with (yield from work(Scratch)) as scratch:
        done = yield from fetch(scratch.folder / "report.csv")
        from reelport.client.results.tables import Table  # noqa: PLC0415 - most reports go into files

        return Table.of(done.path, kept_by=scratch)
