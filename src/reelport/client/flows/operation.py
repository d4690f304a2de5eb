"""Send one GraphQL operation, and once more with a fresh token when the service refuses the token."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial

from reelport.catalog import Scope
from reelport.client.events import Progress
from reelport.client.flows import auth
from reelport.client.flows.answers import find_fault, read_data, refuses_token
from reelport.client.flows.retry import DEFAULT_POLICY, RetryPolicy, send_with_retries
from reelport.client.session import Session
from reelport.client.settings.credentials import Bearer
from reelport.client.steps import Flow, Reply, Request
from reelport.errors import AccessError, QueryRefused
from reelport.wire import TOUCH


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
    """Send one operation and return the reply, for `read_data` to read. Raises AccessError where no token is good."""
    body = json.dumps({"query": document, "variables": variables}).encode()
    fault = partial(find_fault, redact=session.redact)
    for _ in range(2):
        token = yield from auth.get_token(session, tell, scopes, policy)
        sent = {
            "authorization": f"Bearer {token}",
            "content-type": "application/json",
            "accept": "application/json",
        }
        request = Request(
            "POST", session.settings.graphql_url, {**sent, **(headers or {})}, body, session.settings.timeout
        )
        reply = yield from send_with_retries(session, request, tell, policy, fault)
        if not refuses_token(reply, session.redact):
            return reply
        if isinstance(session.settings.key, Bearer):
            raise AccessError(f"The service refuses the bearer token (HTTP {reply.status}): it has run out, or isn't "
                              "good there. Give a fresh one (REELPORT_BEARER).")  # fmt: skip
        auth.discard_token(session, token)
    session.access.grant = None
    raise AccessError(f"The service refuses the token that it has just given (HTTP {reply.status}): "
                      "is the key revoked?")  # fmt: skip


def detect_host(session: Session, tell: Progress) -> Flow[None]:
    """Detect whether the host is a Reelport service, from the token's reply or by one free query."""
    if session.reelport is None:
        yield from auth.get_token(session, tell)
    if session.reelport is None:
        reply = yield from run_operation(session, TOUCH, {}, tell)
        with suppress(QueryRefused):  # A Reporting API may also refuse this query.
            read_data(reply, session.redact)
        session.note_other_vendor()
