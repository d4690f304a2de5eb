"""Client and AsyncClient: run the same flows, blocking and on asyncio."""

from __future__ import annotations

import copy
import os
import random
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, Generic, Self, TypeVar

from reelport.client.drivers.step_runners import AsyncStepRunner, Halt, Halted, StepRunner
from reelport.client.flows.auth import Probe, probe
from reelport.client.ledger import Place, resolve_ledger
from reelport.client.reports import AsyncReports, Reports
from reelport.client.session import Clock, Session
from reelport.client.settings.config import Settings
from reelport.client.steps import (
    AsyncSleep,
    AsyncTransport,
    Body,
    Flow,
    Lost,
    Request,
    Sleep,
    Step,
    T,
    Transport,
    note_asker,
)
from reelport.errors import ReelportError

TransportT = TypeVar("TransportT")
SleepT = TypeVar("SleepT")


class _ClientBase(ABC, Generic[TransportT, SleepT]):
    """What both clients share; `help()` shows their methods the texts from here."""

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        secret: str | None = None,
        *,
        username: str | None = None,
        password: str | None = None,
        bearer: str | None = None,
        profile: str | None = None,
        insecure: bool = False,
        settings: Settings | None = None,
        ledger: Place = None,
        transport: TransportT | None = None,
        clock: Clock | None = None,
        sleep: SleepT | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        key_parts = {"key": key, "secret": secret, "username": username, "password": password, "bearer": bearer}
        chosen = settings or _resolve_settings(profile, insecure=insecure, url=url, **key_parts)
        clock = clock or Clock()
        self._session = Session(chosen, clock, chance, ledger=resolve_ledger(ledger, os.environ, clock.now))
        self._lent = False
        self._use(transport, sleep)
        self._bind_reports()

    @abstractmethod
    def _use(self, transport: TransportT | None, sleep: SleepT | None) -> None: ...

    @abstractmethod
    def _bind_reports(self) -> None: ...

    def __repr__(self) -> str:
        return f"{type(self).__name__}(url={self._session.settings.url!r})"

    @property
    def session(self) -> Session:
        """What the client's flows share: settings, clock, token, ledger."""
        return self._session

    @abstractmethod
    def close(self) -> object:
        """Close the connections, unless they are another client's."""

    @abstractmethod
    def probe(self) -> object:
        """Check the service and the key without asking for a report.

        Raises AccessError for a key that is refused, Unreachable where no Reporting API answers.
        """

    @abstractmethod
    def drive(self, flow: Flow[Any], /) -> object:
        """Run a flow and return its result; a sync builds its own flows on `session`."""

    def with_options(
        self,
        *,
        slots: int | None = None,
        windows: int | None = None,
        timeout: float | None = None,
        patience: float | None = None,
        pace: float | None = None,
        again: bool | None = None,
        any_columns: bool | None = None,
        max_windows: int | None = None,
    ) -> Self:
        """Return a client with other settings; it shares connections, token and ledger.

        `slots` reports in flight at a time, `windows` days in one report, `timeout` seconds of silence before a
        request is given up, `patience` seconds for which transient failures are retried, `pace` seconds in which a
        download must bring 64 KiB, and any other answer its end; with `again` an ask whose answer was lost is sent
        again, at the price of a second report; with `any_columns` a report may have other columns than asked for,
        unless it is a window to merge. A range that takes more than `max_windows` reports is refused (100 by default).
        Closing it closes nothing.
        """
        given = {
            "slots": slots,
            "windows": windows,
            "timeout": timeout,
            "patience": patience,
            "pace": pace,
            "again": again,
            "any_columns": any_columns,
            "max_windows": max_windows,
        }
        changed: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        other = copy.copy(self)
        other._session, other._lent = self._session.with_settings(replace(self._session.settings, **changed)), True  # noqa: SLF001 - our own copy
        other._bind_reports()  # noqa: SLF001 - the same
        return other


class Client(_ClientBase[Transport, Sleep]):
    """Gets reports from a Reporting API: `client.reports.run(query, "views.csv")`.

    `key` and `secret` are a private API key. With `username` and `password` the key is a public one. `bearer` is an
    access token in place of a key. Other values come from the environment (REELPORT_URL, REELPORT_API_KEY,
    REELPORT_API_SECRET …), or with `profile` from that profile. `settings` replaces all of them. The default address
    is Dailymotion's. `ledger` is the file that records requested reports, by default the user's own in REELPORT_HOME.
    With `ledger=False` there is none, and every call requests a new report. Threads may share a client.
    """

    def _use(self, transport: Transport | None, sleep: Sleep | None) -> None:
        self._transport = transport or _LazyHttp()
        self._sleep = sleep or time.sleep

    def _bind_reports(self) -> None:
        self.reports = Reports(self._run, self._session)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if not self._lent:
            self._transport.close()

    def probe(self) -> Probe:
        return self._run(probe(self._session))

    def drive(self, flow: Flow[T], /) -> T:
        return self._run(flow)

    def _run(self, flow: Flow[T], /) -> T:
        halt = Halt()
        with suppress(Halted):
            return self._run_unless_halted(flow, halt)
        raise halt.reason

    def _run_unless_halted(self, flow: Flow[T], halt: Halt, /) -> T:
        runner = StepRunner(self._transport, self._sleep, self._run_unless_halted, halt)
        step: Callable[[], Step] = partial(next, flow)
        with _closing_whole(flow, halt), closing(runner):
            while True:
                try:
                    wanted = step()
                except StopIteration as end:
                    runner.check()
                    return end.value  # type: ignore[no-any-return]  # a generator's result has its flow's type
                try:
                    step = partial(flow.send, runner.execute(wanted))
                except ReelportError as error:
                    step = partial(flow.throw, error)
                except Exception as error:
                    note_asker(error, flow)
                    raise


class _LazyHttp:
    """Loads the HTTP library, a third of a command's start, with the first request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._http: Transport | None = None
        self._closed = False

    def open(self, request: Request) -> Body | Lost:
        with self._lock:
            if self._http is None:
                from reelport.client.drivers.http import Http  # noqa: PLC0415 - see the class

                self._http = Http()
                if self._closed:
                    self._http.close()
        return self._http.open(request)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._http is not None:
                self._http.close()


class AsyncClient(_ClientBase[AsyncTransport, AsyncSleep]):
    """`Client` for asyncio: the same methods, awaited; only `attach` needs no await."""

    def _use(self, transport: AsyncTransport | None, sleep: AsyncSleep | None) -> None:
        if transport is None:
            from reelport.client.drivers.http import AsyncHttp  # noqa: PLC0415 - see there

            transport = AsyncHttp()
        self._transport = transport
        self._sleep = sleep or _sleep_async

    def _bind_reports(self) -> None:
        self.reports = AsyncReports(self._run, self._session)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        if not self._lent:
            await self._transport.close()

    async def probe(self) -> Probe:
        return await self._run(probe(self._session))

    async def drive(self, flow: Flow[T], /) -> T:
        return await self._run(flow)

    async def _run(self, flow: Flow[T], /) -> T:
        runner = AsyncStepRunner(self._transport, self._sleep, self._run)
        step: Callable[[], Step] = partial(next, flow)
        with closing(flow):
            try:
                while True:
                    try:
                        wanted = step()
                    except StopIteration as end:
                        runner.check()
                        return end.value  # type: ignore[no-any-return]  # a generator's result has its flow's type
                    try:
                        step = partial(flow.send, await runner.execute(wanted))
                    except ReelportError as error:
                        step = partial(flow.throw, error)
                    except Exception as error:
                        note_asker(error, flow)
                        raise
            finally:
                await runner.close()


def _resolve_settings(profile: str | None, *, insecure: bool, **given: str | None) -> Settings:
    from reelport.client.settings import profiles  # noqa: PLC0415 - a client may be given its settings

    if profile is None:
        return profiles.resolve_without_files(os.environ, insecure=insecure, **given)
    return profiles.resolve(os.environ, profile=profile, folder=None, insecure=insecure, **given)


@contextmanager
def _closing_whole(flow: Flow[T], halt: Halt) -> Iterator[None]:
    """Close a flow after the block: what it writes down then must come to its end, too."""
    try:
        yield
    finally:
        with halt.working():
            flow.close()


async def _sleep_async(seconds: float) -> None:
    import asyncio  # noqa: PLC0415 - a third of the time that the blocking client takes to load

    await asyncio.sleep(seconds)
