"""What endpoints share: the service object, waits, exact routes."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import TypeVar, TypeVarTuple

import anyio
import anyio.to_thread
from sqlalchemy import Engine
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from reelport.server.access.callers import Caller
from reelport.server.access.key_uses import KeyUses
from reelport.server.access.login_attempts import LoginAttempts
from reelport.server.access.oidc import Provider
from reelport.server.access.users import CHECKS_AT_ONCE
from reelport.server.credentials import ServiceSecret
from reelport.server.explore.explorer import Explorer
from reelport.server.graphql.validation import DocumentCache
from reelport.server.http.long_poll import DurableReports, LongPolls, PollOutcome
from reelport.server.http.metrics import Metrics
from reelport.server.limits.body_budget import BodyBudget
from reelport.server.limits.concurrency import Concurrency
from reelport.server.limits.download_slots import DownloadSlots
from reelport.server.limits.quotas import Quota, format_headers
from reelport.server.limits.rate_limits import TokenBuckets
from reelport.server.settings import Settings
from reelport.server.state.write_probe import StateProbe

Result = TypeVar("Result")
Ts = TypeVarTuple("Ts")
_PAGE_WRITERS = 2
"""Large pages that are written at the same time. More would be no faster, and the event loop would wait for all."""


@dataclass(frozen=True, slots=True)
class Service:
    """Everything that endpoints use. No field is replaced while the process runs."""

    settings: Settings
    db: Engine
    service_secret: ServiceSecret
    documents: DocumentCache
    metrics: Metrics
    long_polls: LongPolls
    durable_reports: DurableReports
    download_slots: DownloadSlots
    bodies: BodyBudget
    forms: BodyBudget
    grants: TokenBuckets
    site_grants: TokenBuckets
    login_attempts: LoginAttempts
    probe: StateProbe
    key_uses: KeyUses
    explorer: Explorer
    provider: Provider | None = None
    concurrency: Concurrency = field(default_factory=Concurrency)
    password_checks: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(CHECKS_AT_ONCE))
    page_turns: Concurrency = field(default_factory=lambda: Concurrency(1))
    page_writers: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(_PAGE_WRITERS))

    async def read(self, read: Callable[[Engine, *Ts], Result], *args: *Ts) -> Result:
        """Call `read` with the state's engine in a thread: the event loop waits for no disk."""
        return await anyio.to_thread.run_sync(read, self.db, *args)

    def measure_documents(self, caller: Caller) -> Quota:
        """Measure how many more requests of a caller's partner would be answered at once."""
        return self.concurrency.measure("documents", caller.organization_id)

    def measure_reports(self, left: int) -> Quota:
        """Say that a partner may ask for so many more reports."""
        return Quota("reports", self.settings.waiting_limit or self.settings.running_limit, left)

    def format_limits(self, caller: Caller, slots_left: int | None = None) -> dict[str, str]:
        """Format the headers about a caller's limits; about its slots only if they are known."""
        reports = () if slots_left is None else (self.measure_reports(slots_left),)
        return format_headers((self.measure_documents(caller), *reports))


async def wait_for_reports(
    service: Service, request: Request, partner: int, unfinished: frozenset[str], seconds: int
) -> PollOutcome:
    """Wait until a report ends or the time is over. ClientDisconnect once the client has gone."""
    began, end = time.perf_counter(), PollOutcome.LEFT
    try:
        end = await run_while_connected(request, lambda: service.long_polls.wait(partner, unfinished, seconds))
    finally:
        request.state.held = time.perf_counter() - began
        service.metrics.long_polls.labels(end.value).inc()
    return end


async def run_while_connected(request: Request, work: Callable[[], Awaitable[Result]]) -> Result:
    """Do work until the request's client goes away: then cancel it, and raise ClientDisconnect.

    Read the request's body before.
    """
    results: list[Result] = []

    async def cancel_when_gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        tasks.cancel_scope.cancel()

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cancel_when_gone)
            results.append(await work())
            tasks.cancel_scope.cancel()
    except ExceptionGroup as failed:  # the task group's, which has one
        raise failed.exceptions[0] from None
    if not results:
        raise ClientDisconnect
    return results[0]


class ExactRoute(Route):
    """A route of one path.

    Starlette's own takes a path with a line feed at its end for the path without it: a proxy's rule for `/metrics`
    doesn't know `/metrics%0A`, and lets it pass.
    """

    def __init__(
        self, path: str, endpoint: Callable[[Request], Awaitable[Response]], *, methods: Collection[str]
    ) -> None:
        super().__init__(path, endpoint, methods=methods)
        self.path_regex = re.compile(self.path_regex.pattern.removesuffix("$") + r"\Z")
