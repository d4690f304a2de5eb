"""Ask for a report, look at it, wait for it: flows that do no network themselves."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from reelport.check import scopes_of
from reelport.client import auth
from reelport.client.answers import UNAUTHORIZED, data_of, fault_of
from reelport.client.events import Asked, Looked, Progress, Warned
from reelport.client.retry import PATIENT, Patience, pauses, persist
from reelport.client.session import Session
from reelport.client.steps import Flow, Request, Wait
from reelport.errors import (
    AccessError,
    NotFinished,
    ReelportError,
    ReportExpired,
    ReportFailed,
    ServiceError,
    Unreachable,
)
from reelport.query import ReportQuery
from reelport.wire import ASK, LOOK, ReportStatus, Scope

DEADLINE = 2.5 * 3600
"""Seconds that a wait takes at most: the two hours that the original may need, and some room."""

_LINKLESS = 30.0
"""Seconds that a finished report may be without a link before that is an error."""

_ODD = "The service's answer has not the shape that the Reporting API's schema gives it."


@dataclass(frozen=True, slots=True)
class ReportState:
    """A report as it was when last looked at. A status that we don't know is one to wait on."""

    token: str
    status: str
    links: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether there is something to download."""
        return self.status == ReportStatus.FINISHED and bool(self.links)


def ask(session: Session, query: ReportQuery, tell: Progress) -> Flow[ReportState]:
    """Ask for a report, once it has passed the local check.

    A Reelport service answers the same ask with the same report, so an ask whose answer was lost is
    sent again. Any other may have made a report of it already: Unreachable says so.
    """
    for problem in session.checked(query):
        tell(Warned(problem))
    patience = PATIENT if session.settings.reelport else replace(PATIENT, once=_perhaps_asked)
    variables = {"input": query.to_wire()}
    data = yield from _graphql(session, ASK, variables, tell, patience, scopes_of(query))
    report = _object(_object(data.get("askPartnerReportFile")).get("reportFile"))
    token = report.get("reportToken")
    if not isinstance(token, str) or not token:
        raise ServiceError("The service took the report but gave no token for it.")
    tell(Asked(token))
    return ReportState(token, str(report.get("status") or ReportStatus.IN_PROGRESS))


def look(session: Session, token: str, tell: Progress, patience: Patience = PATIENT) -> Flow[ReportState]:
    """The report as it is now. Raises ReportExpired when the service knows no such report."""
    data = yield from _graphql(session, LOOK, {"reportToken": token}, tell, patience)
    if data.get("partner") is not None and _object(data["partner"]).get("reportFile") is None:
        raise ReportExpired(f"The service knows no report {token} of this key: unknown or expired. Ask for it again.")
    report = _object(_object(data.get("partner")).get("reportFile"))
    edges = _object(report.get("downloadLinks") or {}).get("edges") or []
    if not isinstance(edges, list):
        raise ServiceError(_ODD)
    nodes = [_object(_object(edge).get("node") or {}) for edge in edges if edge]
    links = tuple(link for node in nodes if isinstance(link := node.get("link"), str) and link)
    return ReportState(token, str(report.get("status") or ReportStatus.IN_PROGRESS), links)


def wait(session: Session, token: str, tell: Progress, *, deadline: float = DEADLINE) -> Flow[ReportState]:
    """Look until the report is ready: at once, then after 0.2 s growing to 60 s.

    Raises ReportFailed or ReportExpired when it never will be, and NotFinished after `deadline`
    seconds. Trouble that may pass is waited out, once the service has answered at all.
    """
    start = session.clock.seconds()
    patience = PATIENT
    bare_since: float | None = None
    for pause in pauses(session.chance):
        state = yield from look(session, token, tell, patience)
        elapsed = session.clock.seconds() - start
        if state.ready:
            tell(Looked(token, state.status, elapsed, None))
            return state
        bare_since = _refuse_dead_end(state, bare_since, elapsed)
        if elapsed >= deadline:
            raise not_finished(token, f"is still {state.status} after {_spoken(deadline)}")
        seconds = min(pause, deadline - elapsed)
        tell(Looked(token, state.status, elapsed, seconds))
        yield Wait(seconds)
        left = start + deadline - session.clock.seconds()
        patience = Patience(left, at_end=partial(_out_of_reach, token))
    raise AssertionError("pauses never end")


def not_finished(token: str, what: str) -> NotFinished:
    """The error that ends a wait early, and says how the report is taken up again."""
    return NotFinished(f"The report {token} {what}. It goes on without you. Take it up again with "
                       f"client.reports.attach({token!r}) or 'reelport report wait {token}'.", token)  # fmt: skip


def _perhaps_asked(error: ReelportError) -> Unreachable:
    return Unreachable(f"{error} The report may have been asked for all the same; "
                       "it then holds one of your slots until it is done.")  # fmt: skip


def _out_of_reach(token: str, error: ReelportError) -> NotFinished:
    return not_finished(token, f"can't be looked at any more ({error})")


def _refuse_dead_end(state: ReportState, bare_since: float | None, elapsed: float) -> float | None:
    """Raise when waiting on is of no use; give back since when the report is finished without a link."""
    match state.status:
        case ReportStatus.FAILED:
            raise ReportFailed(f"The report {state.token} failed on the service's side. Ask for it again.")
        case ReportStatus.EXPIRED:
            raise ReportExpired(f"The report {state.token} has expired and its file is gone. Ask for it again.")
        case ReportStatus.FINISHED:
            since = elapsed if bare_since is None else bare_since
            if elapsed - since > _LINKLESS:
                raise ServiceError(f"The report {state.token} is finished but has no link to a file.")
            return since
        case _:
            return None


def _graphql(
    session: Session,
    document: str,
    variables: Mapping[str, object],
    tell: Progress,
    patience: Patience = PATIENT,
    scopes: Iterable[Scope] = (),
) -> Flow[Mapping[str, Any]]:
    """The `data` of one operation. A token that is refused is renewed, and the operation replayed, once."""
    body = json.dumps({"query": document, "variables": variables}).encode()
    fault = partial(fault_of, redact=session.redacted)
    for _ in range(2):
        token = yield from auth.bearer(session, tell, scopes, patience)
        headers = {
            "authorization": f"Bearer {token}",
            "content-type": "application/json",
            "accept": "application/json",
        }
        request = Request("POST", session.settings.graphql_url, headers, body)
        reply = yield from persist(session, request, tell, patience, fault)
        if reply.status != UNAUTHORIZED:
            return data_of(reply, session.redacted)
        auth.forget(session, token)
    raise AccessError("The service refuses the token that it has just given (HTTP 401): is the key revoked?")


def _object(value: object) -> Mapping[str, Any]:
    """A value that the schema says is an object. Raises ServiceError when it isn't."""
    if isinstance(value, dict):
        return value
    raise ServiceError(_ODD)


def _spoken(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min"), (rest, "s")]
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "0 s"
