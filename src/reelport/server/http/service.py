"""What endpoints share: the service object, callers by their tokens, waits, exact routes."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar, TypeVarTuple

import anyio
import anyio.to_thread
from sqlalchemy import Engine
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from reelport.server.access import callers
from reelport.server.access.callers import Caller
from reelport.server.access.key_uses import KeyUses
from reelport.server.access.login_attempts import LoginAttempts
from reelport.server.access.oidc import Provider
from reelport.server.credentials import ServiceSecret
from reelport.server.explore.explorer import Explorer
from reelport.server.graphql.validation import DocumentCache
from reelport.server.http.long_poll import DurableReports, LongPolls, PollOutcome, parse_wait
from reelport.server.http.metrics import Metrics
from reelport.server.limits.body_budget import BodyBudget
from reelport.server.limits.concurrency import Concurrency
from reelport.server.limits.download_slots import DownloadSlots
from reelport.server.limits.quotas import Quota, format_headers
from reelport.server.limits.rate_limits import TokenBuckets
from reelport.server.settings import Settings
from reelport.server.state.write_probe import StateProbe
from reelport.wire import APPLIED_HEADER, PREFER_HEADER

Result = TypeVar("Result")
Ts = TypeVarTuple("Ts")
_PASSWORD_CHECKS = 2
"""Passwords that are checked at the same time: each takes 19 MiB and a core."""
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
    password_checks: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(_PASSWORD_CHECKS))
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


_REALM = 'Bearer realm="reelport"'
_SCHEME = "bearer"


class BearerRefused(Exception):
    """A request has no caller: sentence, status, `WWW-Authenticate` (RFC 6750)."""

    def __init__(self, sentence: str, status: int, challenge: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.headers = {"WWW-Authenticate": challenge}


async def authenticate(service: Service, request: Request) -> Caller:
    """Find the caller and note the use of its key; BearerRefused without one.

    StorageError when the state can't be read.
    """
    headers = request.headers.getlist("authorization")
    if len(headers) > 1:
        # A proxy in between may have checked the other one.
        sentence = f"There are {len(headers)} Authorization headers: send one."
        raise BearerRefused(sentence, 400, f'{_REALM}, error="invalid_request"')
    header = headers[0] if headers else ""
    scheme, _, token = header.partition(" ")
    if scheme.lower() != _SCHEME or not token.strip():
        raise BearerRefused("There is no bearer token: send `Authorization: Bearer …`.", 401, _REALM)
    now = datetime.now(UTC)
    # Limited for each token: else thousands of requests with one token would be looked up before anybody else's.
    async with service.concurrency.turn(token):
        caller = await service.read(callers.identify_caller, service.service_secret, token.strip(), now)
    if caller is None:
        challenge = f'{_REALM}, error="invalid_token", error_description="unknown, expired or revoked"'
        raise BearerRefused("The token is unknown, expired or revoked: ask for a new one.", 401, challenge)
    service.key_uses.note(caller.key_id, now)
    return caller


async def answer_or_wait(
    request: Request,
    caller: Caller,
    answer: Callable[[Caller], Awaitable[Result]],
    find_unfinished: Callable[[Result], frozenset[str]],
) -> tuple[Result, dict[str, str]]:
    """Answer now; with `Prefer: wait` again, once a report that was unfinished has ended.

    The headers say that it waited. BearerRefused if the token is not valid any more by then.
    """
    service: Service = request.app.state.service
    answered = await answer(caller)
    seconds = parse_wait(request.headers.getlist(PREFER_HEADER), service.settings.look_seconds)
    seen = find_unfinished(answered) if seconds else frozenset[str]()
    if not seen:
        return answered, {}
    if not (await wait_for_reports(service, request, caller.organization_id, seen, seconds)).needs_new_answer:
        return answered, {}
    # Authenticate again: the key may have been revoked, or may have lost a channel, during the long poll.
    return await answer(await authenticate(service, request)), {APPLIED_HEADER: f"wait={seconds}"}


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
