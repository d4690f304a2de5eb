"""Ask for a report, look at it, wait for it: flows that do no network themselves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from reelport.check import scopes_of
from reelport.client.deadline import DEADLINE
from reelport.client.events import Asked, Looked, Progress, Warned
from reelport.client.flows.answers import OK, data_of
from reelport.client.flows.links import Links, as_object
from reelport.client.flows.operation import detect_host, exchange
from reelport.client.flows.retry import PATIENT, Patience, pauses
from reelport.client.session import Session
from reelport.client.steps import Flow, Reply, Wait
from reelport.errors import (
    AskLost,
    IncompleteDownload,
    NotFinished,
    QueryRefused,
    ReelportError,
    ReportExpired,
    ReportFailed,
    ServiceError,
    Unreachable,
    UsageError,
)
from reelport.query import ReportQuery
from reelport.wire import APPLIED_HEADER, ASK, LOOK, PREFER_HEADER, ReportStatus
from reelport.wording import format_count

_LINKLESS = 30.0
"""Seconds that a finished report may be without a link before that is an error."""

_HOLD = 10
"""Seconds that a Reelport service is asked to hold a look at most, until the report ends."""

_HELD = 1.0
"""Seconds from which on a look was truly held."""

_UNKNOWN = frozenset({"not_found", "report_not_found", "unknown_report", "invalid_report_token", "404"})
"""What a vendor may call a report's token that it doesn't know (any more)."""


@dataclass(frozen=True, slots=True)
class ReportState:
    """A report as it was when last looked at. A status that we don't know is one to wait on.

    `expected` is how many links the service counts, None where none were read.
    """

    token: str
    status: str
    links: tuple[str, ...] = ()
    expected: int | None = None

    @property
    def ready(self) -> bool:
        """Whether there is something to download, and every link to it is known."""
        return self.status == ReportStatus.FINISHED and bool(self.links) and not self.lacks_links

    @property
    def lacks_links(self) -> bool:
        """Whether the service counts another number of files than it gives links for."""
        return self.expected is not None and self.expected != len(self.links)


def check_against_host(session: Session, query: ReportQuery, tell: Progress) -> Flow[None]:
    """Learn whom we speak to and hold the query to what that host is known to refuse; asks for nothing.

    Raises QueryRefused with every problem: before anything is sent where no host would take the query.
    """
    session.checked(query)
    yield from detect_host(session, tell)
    for problem in session.checked(query):
        tell(Warned(problem))


def ask(session: Session, query: ReportQuery, tell: Progress) -> Flow[ReportState]:
    """Ask for a report, once it has passed the local check.

    A Reelport service answers the same ask with the same report, so an ask whose answer was lost is sent again.
    Any other may have made a report of it already: that is an AskLost. Any other error means that there is no
    report, unless it carries the `token` of one.
    """
    yield from check_against_host(session, query, tell)
    return (yield from ask_checked(session, query, tell))


def ask_checked(session: Session, query: ReportQuery, tell: Progress, *, yielding: bool = False) -> Flow[ReportState]:
    """The same for a query that `vet` has let pass. With `yielding`, too many reports are a QueueFull at once."""
    patience = Patience(once=None if session.reelport else _perhaps_asked, asking=True, yielding=yielding)
    variables = {"input": query.to_wire()}
    reply = yield from exchange(session, ASK, variables, tell, patience, scopes=scopes_of(query))
    state = _read_ask(session, reply)
    tell(Asked(state.token))
    return state


def look(
    session: Session, token: str, tell: Progress, patience: Patience = PATIENT, *, hold: float = 0.0
) -> Flow[ReportState]:
    """The report as it is now. Raises ReportExpired when the service knows no such report.

    A Reelport service is asked to `hold` its answer for so many seconds, or until the report ends.
    """
    return (yield from _look(session, token, tell, patience, hold))[0]


def wait(session: Session, token: str, tell: Progress, *, deadline: float = DEADLINE) -> Flow[ReportState]:
    """Look until the report is ready: at once, then after 0.2 s growing to 60 s, or in looks that a service holds.

    Raises ReportFailed or ReportExpired when it never will be, and NotFinished after `deadline`
    seconds. Trouble that may pass is waited out, once the service has answered at all.
    """
    start = session.clock.seconds()
    end = start + _check_deadline(deadline)
    patience, rhythm = PATIENT, pauses(session.chance)
    bare_since: float | None = None
    hold = 0.0  # The first look says at once how the report stands.
    while True:
        state, held = yield from _look(session, token, tell, patience, hold)
        elapsed = session.clock.seconds() - start
        if state.ready:
            tell(Looked(token, state.status, elapsed, None))
            return state
        bare_since = _refuse_dead_end(state, bare_since, elapsed)
        if start + elapsed >= end:
            raise not_finished(token, f"is still {state.status} after {_format_seconds(deadline)}")
        at_once = held or (hold == 0.0 and session.reelport is True)
        seconds = 0.0 if at_once else min(next(rhythm), end - start - elapsed)
        tell(Looked(token, state.status, elapsed, seconds))
        if seconds > 0:
            yield Wait(seconds)
        left = hold = end - session.clock.seconds()
        patience = Patience(left, longest=left, at_end=partial(_out_of_reach, token))


def without_links(state: ReportState) -> ServiceError:
    """Describe a finished report that can't be downloaded whole: it has no links, or not as many as are counted."""
    if not state.links:
        return ServiceError(f"The report {state.token} is finished but has no link to a file.", token=state.token)
    return IncompleteDownload(f"The report {state.token} is finished and has "
                              f"{format_count(state.expected or 0, 'file')} by the service's count, but the service "
                              f"gives {format_count(len(state.links), 'link')}. Nothing was kept: download "
                              "it again by its token.", token=state.token)  # fmt: skip


def not_finished(token: str, what: str) -> NotFinished:
    """The error that ends a wait early, and says how the report is taken up again."""
    return NotFinished(f"The report {token} {what}. It goes on without you. Take it up again with "
                       f"client.reports.attach({token!r}) or 'reelport report wait {token}'.", token)  # fmt: skip


def _read_ask(session: Session, reply: Reply) -> ReportState:
    """What the answer to an ask says. Raises AskLost when it may have been taken and can't be read."""
    try:
        return _read_accepted(data_of(reply, session.redacted))
    except ServiceError as error:
        if reply.status == OK and not session.reelport:
            raise _perhaps_asked(error, answered=True) from error
        raise
    except ReelportError as error:
        # A report that was made although the answer tells of errors is not to be lost.
        with suppress(ServiceError):
            error.token = _read_accepted(error.data or {}).token
        raise


def _read_accepted(data: Mapping[str, Any]) -> ReportState:
    """The report that the service took. Raises ServiceError where there is none in its answer."""
    report = as_object(as_object(data.get("askPartnerReportFile")).get("reportFile"))
    token = report.get("reportToken")
    if not isinstance(token, str) or not token or not token.isprintable():
        raise ServiceError("The service took the report but gave no token for it.")
    return ReportState(token, _status(report))


def _look(
    session: Session, token: str, tell: Progress, patience: Patience, hold: float
) -> Flow[tuple[ReportState, bool]]:
    """The report as it is now, and whether the look was held."""
    seconds = int(min(hold, _HOLD, session.settings.timeout / 2)) if session.reelport is not False else 0
    headers = {PREFER_HEADER.lower(): f"wait={seconds}"} if seconds > 0 else None
    began = session.clock.seconds()
    try:
        reply = yield from exchange(session, LOOK, {"reportToken": token}, tell, patience, headers=headers)
        state, links = _read_look(token, data_of(reply, session.redacted))
        while state.status == ReportStatus.FINISHED and (page := links.following) is not None:
            variables = {"reportToken": token, "page": page}
            more = yield from exchange(session, LOOK, variables, tell, patience)
            state, later = _read_look(token, data_of(more, session.redacted), page)
            links += later
        state = replace(state, links=links.found, expected=links.expected)
    except QueryRefused as error:
        raise _unseen(token, error) from error
    except ReelportError as error:
        error.token = token
        raise
    applied = "wait" in reply.headers.get(APPLIED_HEADER.lower(), "").lower()
    return state, applied and session.clock.seconds() - began >= _HELD


def _read_look(token: str, data: Mapping[str, Any], page: int = 1) -> tuple[ReportState, Links]:
    """Read the state of a report and one page of its links."""
    if data.get("partner") is not None and as_object(data["partner"]).get("reportFile") is None:
        raise ReportExpired(f"The service knows no report {token} of this key: unknown or expired. Ask for it again.")
    report = as_object(as_object(data.get("partner")).get("reportFile"))
    return ReportState(token, _status(report)), Links.of(report.get("downloadLinks"), page)


def _status(report: Mapping[str, Any]) -> str:
    """A status as it can be printed, whatever word a vendor has for it."""
    word = str(report.get("status") or ReportStatus.IN_PROGRESS)[:80]
    return word if word.isprintable() else ascii(word)


def _unseen(token: str, refused: QueryRefused) -> ServiceError:
    """What it means that a look, which is right in itself, is refused."""
    if {problem.code.lower() for problem in refused.problems} & _UNKNOWN:
        return ReportExpired(f"The service knows no report {token} of this key: {refused}", token=token)
    return ServiceError(f"The service doesn't show the report {token}: {refused}", token=token, data=refused.data)


def _perhaps_asked(error: ReelportError, *, answered: bool = False) -> AskLost:
    lost = AskLost(f"{error} The report may have been asked for all the same; "
                   "it then holds one of your slots until it is done.")  # fmt: skip
    lost.answered = answered or not isinstance(error, Unreachable)
    return lost


def _out_of_reach(token: str, error: ReelportError) -> NotFinished:
    return not_finished(token, f"can't be looked at any more ({error})")


def _refuse_dead_end(state: ReportState, bare_since: float | None, elapsed: float) -> float | None:
    """Raise when waiting on is of no use; give back since when the report is finished without a link."""
    token = state.token
    match state.status:
        case ReportStatus.FAILED:
            raise ReportFailed(f"The report {token} failed on the service's side. Ask for it again.", token=token)
        case ReportStatus.EXPIRED:
            raise ReportExpired(f"The report {token} has expired and its file is gone. Ask for it again.", token=token)
        case ReportStatus.FINISHED:
            since = elapsed if bare_since is None else bare_since
            if elapsed - since > _LINKLESS:
                raise without_links(state)
            return since
        case _:
            return None


def _check_deadline(deadline: float) -> float:
    if math.isnan(deadline):
        raise UsageError("A deadline is a number of seconds.")
    return max(0.0, deadline)


def _format_seconds(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min"), (rest, "s")]
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "0 s"
