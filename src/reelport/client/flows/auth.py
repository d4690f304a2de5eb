"""Send GraphQL operations with an access token; one flow renews it for all that need it."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from urllib.parse import urlencode

from reelport.catalog import Scope
from reelport.client.events import KeyExpires, Progress, ignore_event
from reelport.client.flows.answers import (
    FORBIDDEN,
    OK,
    UNAUTHORIZED,
    count_seconds_until,
    describe_failure,
    find_fault,
    parse_object,
    read_data,
    refuses_token,
)
from reelport.client.flows.retry import DEFAULT_POLICY, RetryPolicy, send
from reelport.client.session import Access, Grant, Session
from reelport.client.settings.config import Bearer, PrivateKey, PublicKey, is_token
from reelport.client.steps import Flow, Reply, Request, Wait
from reelport.errors import AccessError, QueryRefused, ReelportError, ServiceError
from reelport.wire import KEY_EXPIRES_HEADER, TOUCH, VERSION_HEADER

# All scopes that a report can need. A report asked for with a wide token must be looked at with one as wide.
WISHED = (Scope.CREATE_REPORTS, Scope.READ_REPORTS, Scope.ACCESS_ADS, Scope.ACCESS_REVENUE)

_LIFE = 3600.0
_MARGIN = 60.0
_TURN = 0.05  # seconds between two looks whether another flow has renewed the token
_REFUSALS = frozenset({400, UNAUTHORIZED, FORBIDDEN})
_HEADERS = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}


def get_token(
    session: Session, tell: Progress, needed: Iterable[Scope] = (), policy: RetryPolicy = DEFAULT_POLICY
) -> Flow[str]:
    """Return an access token that stays valid for a while. It must have the `needed` scopes.

    When several flows of a client find the token stale, one renews it; the others take its result, also a refusal.
    Raises AccessError when the service gives no token.
    """
    key = session.settings.key
    if isinstance(key, Bearer):
        return key.token
    if (token := _find_current_token(session)) is not None:
        return token
    until, tries, turn = policy.until(session), session.access.tries, session.access.turn
    while not turn.acquire(blocking=False):
        yield from policy.meanwhile()
        yield Wait(_TURN)
    try:
        return (yield from _renew_token(session, key, tell, tuple(needed), policy, until, tries))
    finally:
        turn.release()


def discard_token(session: Session, token: str) -> None:
    """Mark a token that the service refused as stale, unless another flow renewed it meanwhile."""
    grant = session.access.grant
    if grant is not None and grant.token == token:
        session.access.grant = replace(grant, renew_at=float("-inf"))


def _find_current_token(session: Session) -> str | None:
    grant = session.access.grant
    return grant.token if grant is not None and session.clock.seconds() < grant.renew_at else None


def _renew_token(
    session: Session,
    key: PrivateKey | PublicKey,
    tell: Progress,
    needed: tuple[Scope, ...],
    policy: RetryPolicy,
    until: float,
    tries: int,
) -> Flow[str]:
    """Return the token that another flow got meanwhile, else a new one.

    `tries` were made before this flow waited for its turn.
    """
    if (token := _find_current_token(session)) is not None:
        return token
    access, late = session.access, session.clock.seconds() > until
    if access.tries != tries and access.failure is not None and (late or isinstance(access.failure, AccessError)):
        raise copy.copy(access.failure)  # another flow's, met while this one waited: a retry can't help
    access.failure = None
    try:
        grant = yield from _get_grant(session, key, tell, needed, policy.left(session, until))
    except ReelportError as error:
        access.failure = copy.copy(error)  # without its traceback, which would keep all of this flow alive
        raise
    finally:
        access.tries += 1
    access.replace_grant(grant)
    return grant.token


def _get_grant(
    session: Session, key: PrivateKey | PublicKey, tell: Progress, needed: tuple[Scope, ...], policy: RetryPolicy
) -> Flow[Grant]:
    settings = session.settings
    for form in _list_forms(session, key, needed):
        body = urlencode(form).encode()
        request = Request("POST", settings.token_url or settings.url, _HEADERS, body, settings.timeout)
        reply = yield from send(session, request, tell, policy)
        if not _refuses_form(session, key, reply):
            break
    grant = _read_grant(session, reply, form.get("refresh_token"))
    _tell_expiry(session.access, reply, tell)
    return grant


def _tell_expiry(access: Access, reply: Reply, tell: Progress) -> None:
    """Tell when the key expires, where the service says so: once, not with each renewed token."""
    try:
        at = datetime.fromisoformat(reply.headers.get(KEY_EXPIRES_HEADER.lower(), "")).astimezone(UTC)
    except (ValueError, OverflowError):
        return
    if access.key_expires != at:
        access.key_expires = at
        tell(KeyExpires(at))


def _list_forms(session: Session, key: PrivateKey | PublicKey, needed: tuple[Scope, ...]) -> list[dict[str, str]]:
    """List the forms by which a key may get a grant, the best first.

    A private key asks for all scopes, then for fewer: some vendors refuse a scope that the key lacks, others leave it
    out of the grant. A public key asks by the refresh token, if any, then by password.
    """
    form = {"client_id": key.id, "client_secret": key.secret}
    match key:
        case PrivateKey():
            form = {"grant_type": "client_credentials"} | form
            tried = (WISHED, (Scope.CREATE_REPORTS, *needed))
            return [form | {"scope": " ".join(dict.fromkeys(scopes))} for scopes in tried]
        case PublicKey():
            login = form | {"grant_type": "password", "username": key.username, "password": key.password}
            refresh = session.access.grant.refresh if session.access.grant else None
            again = [] if refresh is None else [form | {"grant_type": "refresh_token", "refresh_token": refresh}]
            return [*again, login]


def _refuses_form(session: Session, key: PrivateKey | PublicKey, reply: Reply) -> bool:
    if isinstance(key, PublicKey):
        return reply.status in _REFUSALS
    return reply.status != OK and parse_object(reply, session.redact).get("error") == "invalid_scope"


def _read_grant(session: Session, reply: Reply, refresh: str | None = None) -> Grant:
    answer = parse_object(reply, session.redact)
    token, new = answer.get("access_token"), answer.get("refresh_token")
    if reply.status == OK and isinstance(token, str) and is_token(token):
        session.note_other_vendor()
        life = _parse_seconds(answer.get("expires_in"))
        renew_at = session.clock.seconds() + life - min(_MARGIN, life / 10)
        scope = answer.get("scope")
        scopes = (tuple(scope.split()) if isinstance(scope, str) else ()) or None
        return Grant(token, renew_at, new if isinstance(new, str) and new else refresh, scopes)
    said = describe_failure(answer, session.redact)
    if reply.status in _REFUSALS:
        why = said or f"HTTP {reply.status}"
        other_kind = answer.get("error") == "unauthorized_client"
        advice = _advise_on_kind(session) if other_kind else _advise_on_key(session)
        raise AccessError(f"The service gave no token for this key ({why}). {advice}")
    raise ServiceError(f"The token endpoint answered HTTP {reply.status} without a token{': ' if said else ''}{said}. "
                       "Check the address (REELPORT_URL).")  # fmt: skip


def _advise_on_key(session: Session) -> str:
    if isinstance(session.settings.key, PublicKey):
        return ("Check REELPORT_API_KEY, REELPORT_API_SECRET, REELPORT_USERNAME and REELPORT_PASSWORD, "
                "and that the key is enabled for reports.")  # fmt: skip
    return "Check the key, its secret and its permissions (REELPORT_API_KEY, REELPORT_API_SECRET, or what was given)."


def _advise_on_kind(session: Session) -> str:
    if isinstance(session.settings.key, PublicKey):
        return "For a private key, leave out username and password (unset REELPORT_USERNAME and REELPORT_PASSWORD)."
    return "For a public key, give a user's login, too (REELPORT_USERNAME and REELPORT_PASSWORD)."


def _parse_seconds(value: object) -> float:
    try:
        return max(0.0, float(str(value)))
    except ValueError:
        return _LIFE


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
        token = yield from get_token(session, tell, scopes, policy)
        sent = {"authorization": f"Bearer {token}", "content-type": "application/json", "accept": "application/json"}
        sent |= {**(make_trace_headers() if session.reelport else {}), **(headers or {})}
        settings = session.settings
        request = Request("POST", settings.graphql_url, sent, body, settings.timeout)
        reply = yield from send(session, request, tell, policy, fault)
        if not refuses_token(reply, session.redact):
            return reply
        if isinstance(session.settings.key, Bearer):
            raise AccessError(f"The service refuses the bearer token (HTTP {reply.status}): it has run out, or isn't "
                              "good there. Give a fresh one (REELPORT_BEARER).")  # fmt: skip
        discard_token(session, token)
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
    yield from get_token(session, ignore_event, policy=impatient)  # Now: the clock is read around one query.
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
