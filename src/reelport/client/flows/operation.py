"""Send a GraphQL operation; with a fresh token again when the service refuses one."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from functools import partial

from reelport.catalog import Scope
from reelport.client.events import Progress
from reelport.client.flows import auth
from reelport.client.flows.answers import find_fault, refuses_token
from reelport.client.flows.retry import DEFAULT_POLICY, Retries, RetryPolicy
from reelport.client.session import Session
from reelport.client.settings.credentials import Bearer
from reelport.client.steps import Flow, Reply, Request, Send, Wait
from reelport.errors import AccessError


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
        sent = {
            "authorization": f"Bearer {token}",
            "content-type": "application/json",
            "accept": "application/json",
            **(make_trace_headers() if session.reelport else {}),
        }
        settings = session.settings
        request = Request(
            "POST", settings.graphql_url, {**sent, **(headers or {})}, body, settings.timeout, settings.pace
        )
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
    """Make W3C's `traceparent` of the current span; empty where the caller records none.

    Nothing is imported for it: a program without OpenTelemetry has no span.
    """
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None or not hasattr(trace, "get_current_span"):  # nobody has imported it, or another thread is about to
        return {}
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {"traceparent": f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"}
