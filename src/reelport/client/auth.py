"""Tokens: had for the key, renewed before they run out, never asked for twice at a time without need."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from urllib.parse import urlencode

from reelport.client.answers import FORBIDDEN, UNAUTHORIZED, json_of
from reelport.client.events import Progress
from reelport.client.retry import PATIENT, Patience, persist
from reelport.client.session import Grant, Session
from reelport.client.steps import Flow, Reply, Request
from reelport.errors import AccessError, ServiceError
from reelport.wire import Scope

WISHED = (Scope.CREATE_REPORTS, Scope.READ_REPORTS, Scope.ACCESS_ADS, Scope.ACCESS_REVENUE)
"""Everything that a report can need. A report asked for with a wide token is looked at with one as wide."""

_LIFE = 3600.0
_MARGIN = 60.0
_OK = 200
_REFUSALS = frozenset({400, UNAUTHORIZED, FORBIDDEN})


def bearer(session: Session, tell: Progress, needed: Iterable[Scope] = (), patience: Patience = PATIENT) -> Flow[str]:
    """A token that is good for a while yet. `needed` scopes are what it can't do without."""
    patience = replace(patience, once=None)
    if session.grant is None or session.clock.seconds() >= session.grant.renew_at:
        reply = yield from persist(session, _request(session, WISHED), tell, patience)
        if _lacks_a_scope(session, reply):
            # A vendor may refuse a scope that the key lacks, where others leave it out of the grant.
            fewer = (Scope.CREATE_REPORTS, *needed)
            reply = yield from persist(session, _request(session, fewer), tell, patience)
        session.grant = _grant(session, reply)
    return session.grant.token


def forget(session: Session, token: str) -> None:
    """Drop a token that the service refused, unless it was renewed meanwhile."""
    if session.grant is not None and session.grant.token == token:
        session.grant = None


def _request(session: Session, scopes: Iterable[Scope]) -> Request:
    form = {
        "grant_type": "client_credentials",
        "client_id": session.settings.key.id,
        "client_secret": session.settings.key.secret,
        "scope": " ".join(dict.fromkeys(scopes)),
    }
    headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
    return Request("POST", session.settings.token_url, headers, urlencode(form).encode())


def _lacks_a_scope(session: Session, reply: Reply) -> bool:
    return reply.status != _OK and json_of(reply, session.redacted).get("error") == "invalid_scope"


def _grant(session: Session, reply: Reply) -> Grant:
    """The grant that a reply of the token endpoint holds. Raises AccessError when it refuses."""
    answer = json_of(reply, session.redacted)
    token = answer.get("access_token")
    if reply.status == _OK and isinstance(token, str) and token:
        life = _seconds(answer.get("expires_in"))
        return Grant(token, session.clock.seconds() + life - min(_MARGIN, life / 10))
    said = session.redacted(
        ": ".join(str(answer[word]) for word in ("error", "error_description") if answer.get(word))
    ).rstrip(".")
    if reply.status in _REFUSALS:
        why = said or f"HTTP {reply.status}"
        raise AccessError(f"The service gave no token for this key ({why}). "
                          "Check REELPORT_API_KEY, REELPORT_API_SECRET and the key's permissions.")  # fmt: skip
    raise ServiceError(f"The token endpoint answered HTTP {reply.status} without a token{': ' if said else ''}{said}.")


def _seconds(value: object) -> float:
    try:
        return max(0.0, float(str(value)))
    except ValueError:
        return _LIFE
