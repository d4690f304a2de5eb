"""Check a service and a key without an ask: one token, one free query."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from reelport.client.events import ignore_event
from reelport.client.flows import auth
from reelport.client.flows.answers import read_data
from reelport.client.flows.operation import run_operation
from reelport.client.flows.retry import RetryPolicy
from reelport.client.session import Session
from reelport.client.steps import Flow, Reply
from reelport.errors import QueryRefused
from reelport.wire import TOUCH, VERSION_HEADER


@dataclass(frozen=True, slots=True)
class Probe:
    """What a service that accepted the key says of itself.

    `version` is the Reelport service's, None elsewhere. `scopes` are those of the token; `token_seconds` is the time
    until it is renewed; `skew` is how many seconds the service's clock is ahead of ours, give or take one;
    `key_expires` is when the key ends, if that is soon. Each is None where the service doesn't say.
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
    _check_reply(session, reply)
    grant = session.grant
    return Probe(
        session.settings.url,
        reply.headers.get(VERSION_HEADER.lower()) if session.reelport else None,
        grant.scopes if grant else None,
        max(0.0, grant.renew_at - session.clock.seconds()) if grant else None,
        _measure_skew(reply, before + (after - before) / 2),
        session.access.key_expires,
    )


def _check_reply(session: Session, reply: Reply) -> None:
    """Raise when the reply isn't a Reporting API's; a refusal of the query is one."""
    try:
        read_data(reply, session.redact)
    except QueryRefused:
        return


def _measure_skew(reply: Reply, now: datetime) -> float | None:
    """Return how many seconds the reply's `Date` is ahead: whole ones, so 0.5 is added."""
    try:
        moment = parsedate_to_datetime(reply.headers.get("date", ""))
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - now).total_seconds() + 0.5
