"""Send a GraphQL operation, again with a fresh token if one is refused; probe a service."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from reelport.catalog import Scope
from reelport.client.events import Progress, ignore_event
from reelport.client.flows import auth
from reelport.client.flows.answers import count_seconds_until, find_fault, read_data, refuses_token
from reelport.client.flows.retry import DEFAULT_POLICY, Retries, RetryPolicy
from reelport.client.session import Session
from reelport.client.settings.config import Bearer
from reelport.client.steps import Flow, Reply, Request, Send, Wait
from reelport.errors import AccessError, QueryRefused
from reelport.wire import TOUCH, VERSION_HEADER


def run_operation(
    session: Session,
    document: str,
    variables: Mapping[str, object],
    tell: Progress,
    policy: RetryPolicy = DEFAULT_POLICY,
    *,
    scopes: Iterable[Scope] = (),
    headers: Mapping[str, str] | None = None,
) -> Flow[Reply]:
    """Send an operation; return the reply for `read_data`. AccessError without a good token."""
    body = json.dumps({"query": document, "variables": variables}).encode()
    fault = partial(find_fault, redact=session.redact)
    for _ in range(2):
        token = yield from auth.get_token(session, tell, scopes, policy)
        sent = {"authorization": f"Bearer {token}", "content-type": "application/json", "accept": "application/json"}
        sent |= {**(make_trace_headers() if session.reelport else {}), **(headers or {})}
        settings = session.settings
        request = Request("POST", settings.graphql_url, sent, body, settings.timeout, settings.pace)
        retries = Retries(session, tell, policy, fault)
        while (seconds := retries.pause_after((yield Send(request)))) is not None:
            yield Wait(seconds)
        if not refuses_token(reply := retries.reply, session.redact):
            return reply
        if isinstance(session.settings.key, Bearer):
            raise AccessError(f"The service refuses the bearer token (HTTP {reply.status}): it has run out, or isn't "
                              "good there. Give a fresh one (REELPORT_BEARER).")  # fmt: skip
        auth.discard_token(session, token)
    session.access.grant = None
    raise AccessError(f"The service refuses the token that it has just given (HTTP {reply.status}): "
                      "is the key revoked?")  # fmt: skip


def make_trace_headers() -> Mapping[str, str]:
    """Make W3C's `traceparent` of the current span; without OpenTelemetry there is none."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None or not hasattr(trace, "get_current_span"):  # nobody has imported it, or another thread is about to
        return {}
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {"traceparent": f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"}


@dataclass(frozen=True, slots=True)
class Probe:
    """What a service that accepted the key says of itself; None where it doesn't.

    `version` is the Reelport service's. `scopes` are those of the token, `token_seconds` the time until it is renewed;
    `skew` is how many seconds the service's clock is ahead, give or take one; `key_expires` is when the key ends, if
    soon.
    """

    url: str
    version: str | None
    scopes: tuple[str, ...] | None
    token_seconds: float | None
    skew: float | None
    key_expires: datetime | None


def probe(session: Session) -> Flow[Probe]:
    """Get a token, if there is none yet, and use it once, without retries."""
    impatient = RetryPolicy(seconds=0.0, longest=0.0)
    yield from auth.get_token(session, ignore_event, policy=impatient)  # Now: the clock is read around one query.
    before = session.clock.now()
    reply = yield from run_operation(session, TOUCH, {}, ignore_event, impatient)
    after = session.clock.now()
    with suppress(QueryRefused):  # A Reporting API may refuse this query.
        read_data(reply, session.redact)
    grant = session.access.grant
    return Probe(
        session.settings.url,
        reply.headers.get(VERSION_HEADER.lower()) if session.reelport else None,
        grant.scopes if grant else None,
        max(0.0, grant.renew_at - session.clock.seconds()) if grant else None,
        _measure_skew(reply, before + (after - before) / 2),
        session.access.key_expires,
    )


def _measure_skew(reply: Reply, now: datetime) -> float | None:
    """Return how many seconds the reply's `Date` is ahead: whole ones, so 0.5 is added."""
    ahead = count_seconds_until(reply.headers.get("date", ""), now)
    return None if ahead is None else ahead + 0.5
