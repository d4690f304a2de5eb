"""`client.reports`: plan, submit, attach and run reports, and each report's own handle.

The classes for asyncio take their methods from the blocking ones: a method gives a flow to its runner and returns what
the runner returns, there a coroutine.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Literal,
    ParamSpec,
    Self,
    TypedDict,
    TypeVar,
    Unpack,
    overload,
)

from reelport.client.events import Progress
from reelport.client.files.part import resolve_csv_target, translate_io_errors
from reelport.client.flows import download, fetch, lifecycle
from reelport.client.flows.download import Downloaded, Ranged
from reelport.client.flows.lifecycle import ReportState
from reelport.client.listener import make_listener, warn
from reelport.client.session import Session
from reelport.client.steps import DEADLINE, AsyncRunner, Flow, Runner, T, to_seconds, work
from reelport.errors import UsageError
from reelport.query import ReportQuery
from reelport.report_details import ReportDetails
from reelport.wire import ReportStatus

if TYPE_CHECKING:
    from reelport.client.ranges.plan import Plan
    from reelport.client.results.tables import Table


Done = TypeVar("Done", bound=Downloaded)
AnyReport = TypeVar("AnyReport", bound="_Handle")
P = ParamSpec("P")


@overload
def awaited(method: Callable[Concatenate[Any, P], T]) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]: ...
@overload
def awaited(
    method: Callable[Concatenate[Any, P], object], gives: Callable[[], type[T]]
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]: ...
def awaited(method: object, gives: object = None) -> object:
    """Type a blocking class's method for asyncio; with `gives` the result is of that class."""
    del gives
    return method


class _Handle:
    """A report's token, query where known, last state, and the flows of its methods."""

    def __init__(
        self, run: Runner | AsyncRunner, session: Session, state: ReportState, query: ReportQuery | None
    ) -> None:
        self._run = run
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

    def _refresh(self) -> Flow[Self]:
        tell = make_listener(self._session, warn)
        row = yield from fetch.recall_row(self._session, self.token)
        self._state = yield from lifecycle.look_recorded(self._session, row, self.token, tell)
        return self

    def _wait(self, deadline: float | timedelta, progress: Progress | None) -> Flow[Self]:
        tell, left = make_listener(self._session, progress), to_seconds(deadline)
        row = yield from fetch.recall_row(self._session, self.token)
        self._state = yield from lifecycle.wait_recorded(self._session, row, self.token, tell, deadline=left)
        return self

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

    _run: Runner

    def refresh(self) -> Report:
        """Query the status once. Raises ReportExpired if the service doesn't know the report."""
        return self._run(self._refresh())

    def wait(self, *, deadline: float | timedelta = DEADLINE, progress: Progress | None = None) -> Report:
        """Wait until the report can be downloaded.

        Raises NotFinished after `deadline` (seconds), ReportFailed or its kind for the reason, ReportExpired.
        """
        return self._run(self._wait(deadline, progress))

    @overload
    def download(self, to: None = None, *, progress: Progress | None = None, any_columns: bool = False) -> Table: ...
    @overload
    def download(
        self, to: str | os.PathLike[str], *, progress: Progress | None = None, any_columns: bool = False
    ) -> Downloaded: ...
    def download(
        self, to: str | os.PathLike[str] | None = None, *, progress: Progress | None = None, any_columns: bool = False
    ) -> Table | Downloaded:
        """Write the whole CSV to `to`. On an error, a file that is there stays unchanged.

        Without `to`, returns a table; its temporary file is deleted with it. With `any_columns` the report may have
        other columns than requested.
        """
        tell = make_listener(self._session, progress)
        return self._run(_fetch_to(to, partial(self._fetch, tell=tell, any_columns=any_columns)))


class AsyncReport(_Handle):
    """`Report` for asyncio: the same methods, awaited."""

    refresh = awaited(Report.refresh, lambda: AsyncReport)
    wait = awaited(Report.wait, lambda: AsyncReport)
    download = awaited(Report.download)


class _RunOptions(TypedDict, total=False):
    """The options of `run` and `run_range`, for overloads; help shows the methods' own."""

    deadline: float | timedelta
    progress: Progress | None
    fresh: bool


class _Attaching(ABC, Generic[AnyReport]):
    def attach(self, token: str, query: ReportQuery | None = None) -> AnyReport:
        """Return a report that was requested earlier, here or elsewhere. Sends no request.

        If you pass the query, a download checks the report's columns.
        """
        if not token.strip():
            raise UsageError("The report's token is empty.")
        return self._make_handle(ReportState(token, ReportStatus.IN_PROGRESS), query)

    @abstractmethod
    def _make_handle(self, state: ReportState, query: ReportQuery | None) -> AnyReport: ...


class Reports(_Attaching[Report]):
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

        Raises QueryRefused with every problem, before it sends the query if possible. Raises SlotsFull if no slot of
        the key becomes free within `deadline` seconds.
        """
        tell, limit = make_listener(self._session, progress), to_seconds(deadline)

        def ask() -> Flow[Report]:
            state = yield from fetch.submit(self._session, query, tell, deadline=limit, fresh=fresh)
            return self._make_handle(state, query)

        return self._run(ask())

    def _make_handle(self, state: ReportState, query: ReportQuery | None) -> Report:
        return Report(self._run, self._session, state, query)

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
        """Ask for a report, wait for it and download it.

        If a call is stopped, call again: it continues, because an undelivered report is always reused. After delivery,
        a Reelport service is asked again; it gives the same report while nothing has changed. Another host's report is
        reused until it expires, unless its range was not over when it was requested. `fresh` always asks the
        service. Without `to`, returns a table; its temporary file is deleted with it.
        """
        session, tell, limit = self._session, make_listener(self._session, progress), to_seconds(deadline)
        return self._run(
            _fetch_to(to, lambda target: fetch.fetch(session, query, target, tell, deadline=limit, fresh=fresh))
        )

    def plan(self, query: ReportQuery) -> Plan:
        """Plan a query over any range: its windows, their merge, and what the ledger already has.

        Sends no request. Raises QueryRefused for everything wrong with the query except its length.
        """
        from reelport.client.ranges.plan import plan_range  # noqa: PLC0415 - what fetches and merges windows

        return self._run(work(partial(plan_range, self._session, query)))

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
        """Fetch a query's report over any range in windows, merged as into one long report.

        Asks for two windows at a time, each with `deadline` seconds. Halves a window whose report fails, down to a
        day. If a call is stopped, call again: it continues. With `keep_windows` the windows stay separate files in the
        folder `to`. Raises MergeRefused, before it sends a request, if windows can't be merged. Raises Partial if some
        windows are on disk and others can't be fetched. Without `to`, returns a table; its temporary file is deleted
        with it.
        """
        from reelport.client.ranges import run as ranges  # noqa: PLC0415 - most reports are no range

        session, tell, limit = self._session, make_listener(self._session, progress), to_seconds(deadline)
        if not keep_windows:
            return self._run(
                _fetch_to(
                    to, lambda target: ranges.run_range(session, query, target, tell, deadline=limit, fresh=fresh)
                )
            )
        if to is None:
            raise UsageError("Windows that are kept apart are files of their own: name the folder for them as `to`.")
        folder = ranges.resolve_folder(to)
        return self._run(ranges.keep_windows(session, query, folder, tell, deadline=limit, fresh=fresh))


class AsyncReports(_Attaching[AsyncReport]):
    """`Reports` for asyncio: the same methods, awaited; `attach` needs no await."""

    def __init__(self, run: AsyncRunner, session: Session) -> None:
        self._run = run
        self._session = session

    submit = awaited(Reports.submit, lambda: AsyncReport)
    run = awaited(Reports.run)
    plan = awaited(Reports.plan)
    run_range = awaited(Reports.run_range)

    def _make_handle(self, state: ReportState, query: ReportQuery | None) -> AsyncReport:
        return AsyncReport(self._run, self._session, state, query)


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
