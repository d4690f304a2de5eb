"""A report at the service: its token, its status, which the ledger gets too, its links."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

from reelport import killpoints
from reelport.client.events import Looked, Progress, Warned
from reelport.client.flows.answers import OK, find_details, read_data
from reelport.client.flows.auth import get_token, run_operation
from reelport.client.flows.pauses import pauses
from reelport.client.flows.retry import DEFAULT_POLICY, RetryPolicy, do_nothing
from reelport.client.ledger import Ledger
from reelport.client.ledger_rows import Row, State
from reelport.client.session import Session
from reelport.client.settings.config import DEADLINE
from reelport.client.steps import Flow, Reply, Wait, work
from reelport.errors import (
    AskLost,
    IncompleteDownload,
    NotFinished,
    QueryRefused,
    ReelportError,
    ReportCancelled,
    ReportExpired,
    ReportFailed,
    ReportTooLarge,
    ServiceError,
    Unreachable,
)
from reelport.query import ReportQuery
from reelport.report_details import FailureReason, ReportDetails
from reelport.wire import APPLIED_HEADER, LOOK, PREFER_HEADER, TOUCH, ReportStatus
from reelport.wording import format_count, format_duration

_LINKLESS = 30.0  # seconds that a finished report may lack links before that is an error
# Seconds for which the first look of a wait long-polls a Reelport service until the report ends, and each later one at
# most: it doubles. So a report of some seconds, too, tells how far it is.
_FIRST_LONG_POLL, _LONG_POLL_SECONDS = 2.0, 10
_LONG_POLLED_SECONDS = 1.0  # seconds after which a look counts as long-polled
_LONGEST_TOKEN = 4096  # characters of a report's token: it is printed, kept in the ledger, and sent with each look
# Codes by which vendors say that they don't know a report's token, or no longer do.
_UNKNOWN = frozenset({"not_found", "report_not_found", "unknown_report", "invalid_report_token", "404"})

_MOST_PAGES = 1000  # most pages of links to read: a vendor that never ends its pages is an error
_MALFORMED = "The service's answer doesn't have the shape of the Reporting API's schema."


@dataclass(frozen=True, slots=True)
class ReportState:
    """A report's status and links at the last look. An unknown status is in progress.

    `expected` is the service's count of links, None where none were read; `long_polled`: it kept the look waiting.
    `details` are what a Reelport service tells beyond the wire.
    """

    token: str
    status: str
    links: tuple[str, ...] = ()
    expected: int | None = None
    long_polled: bool = False
    details: ReportDetails | None = None

    @property
    def ready(self) -> bool:
        """Whether the report is finished and all of its links are known."""
        return self.status == ReportStatus.FINISHED and bool(self.links) and not self.lacks_links

    @property
    def lacks_links(self) -> bool:
        """Whether the service's count of files differs from the number of links."""
        return self.expected is not None and self.expected != len(self.links)


def check_against_host(session: Session, query: ReportQuery, tell: Progress) -> Flow[None]:
    """Detect the host's kind and check the query by its limits. QueryRefused with all problems."""
    session.check_query(query)
    if session.reelport is None:
        yield from get_token(session, tell)  # The reply may say it already.
    if session.reelport is None:
        reply = yield from run_operation(session, TOUCH, {}, tell)
        with suppress(QueryRefused):  # A Reporting API may also refuse this query, which is free.
            read_data(reply, session.redact)
        session.note_other_vendor()
    for problem in session.check_query(query):
        tell(Warned(problem))


def build_ask_policy(session: Session) -> RetryPolicy:
    """Build the retry policy of an ask, repeated only to a Reelport service; else AskLost.

    A Reelport service answers the same ask with the same report; another may have made one already.
    """
    return RetryPolicy(once=None if session.reelport else _build_ask_lost, asking=True)


def read_ask(session: Session, reply: Reply) -> str:
    """Read the report's token from the answer to an ask.

    Raises AskLost when the answer is unreadable and the ask may have been taken. Every other error means that there is
    no report, unless it carries the `token` of one.
    """
    try:
        return _read_accepted(read_data(reply, session.redact))
    except ServiceError as error:
        if reply.status == OK and not session.reelport:
            raise _build_ask_lost(error, answered=True) from error
        raise
    except ReelportError as error:
        # The service may have made a report although its answer has errors: keep the token.
        with suppress(ServiceError):
            error.token = _read_accepted(error.data or {})
        raise


def look(
    session: Session,
    token: str,
    tell: Progress,
    policy: RetryPolicy = DEFAULT_POLICY,
    *,
    row: Row | None = None,
    long_poll: float = 0.0,
) -> Flow[ReportState]:
    """Return the report's status now, recorded in its row; ReportExpired if there is none.

    With `long_poll`, long-polls a Reelport service for up to so many seconds, until the report ends.
    """
    try:
        state = yield from _query_status(session, token, tell, policy, long_poll, row)
    except ReportExpired as error:
        if row is not None:
            yield from work(partial(session.ledger.record_end, row, State.EXPIRED, str(error)))
        raise
    if row is not None:
        yield from work(partial(_record_status, session.ledger, row, state))
    return state


def _query_status(
    session: Session, token: str, tell: Progress, policy: RetryPolicy, long_poll: float, row: Row | None
) -> Flow[ReportState]:
    seconds = int(min(long_poll, _LONG_POLL_SECONDS, session.settings.timeout / 2))
    headers = {PREFER_HEADER.lower(): f"wait={seconds}"} if seconds > 0 and session.reelport is not False else None
    began = session.clock.seconds()
    try:
        reply = yield from run_operation(session, LOOK, {"reportToken": token}, tell, policy, headers=headers)
        state, links = _read_look(token, read_data(reply, session.redact))
        details = find_details(reply, token, session.redact)
        while state.status == ReportStatus.FINISHED and (page := links.following) is not None:
            if row is not None:  # The pages of many links may take longer than the lease on the row lasts.
                yield from work(partial(session.ledger.record_status, row, State.FINISHED))
            variables = {"reportToken": token, "page": page}
            more = yield from run_operation(session, LOOK, variables, tell, policy)
            state, later = _read_look(token, read_data(more, session.redact), page)
            links += later
    except QueryRefused as error:
        raise _translate_look_refusal(token, error) from error
    except ReelportError as error:
        error.token = token
        raise
    applied = "wait" in reply.headers.get(APPLIED_HEADER.lower(), "").lower()
    long_polled = applied and session.clock.seconds() - began >= _LONG_POLLED_SECONDS
    return replace(state, links=links.found, expected=links.expected, long_polled=long_polled, details=details)


def wait(
    session: Session,
    token: str,
    tell: Progress,
    *,
    row: Row | None = None,
    deadline: float = DEADLINE,
    just_asked: bool = False,
) -> Flow[ReportState]:
    """Poll until the report is ready: pauses of 0.2 s growing to 60 s, or long polling.

    Each look is recorded in the report's row. After the first, the wait renews its lease on the row while the service
    is away, too. The first look returns the status at once, except for a report that was `just_asked` of a Reelport
    service. Raises ReportFailed or ReportExpired when it never will be ready, and NotFinished after `deadline` seconds.
    Transient failures are retried until then, once the service has answered at all.
    """
    start = session.clock.seconds()
    end = start + max(0.0, deadline)
    rhythm = pauses(session.chance)
    bare_since: float | None = None
    long_poll = end - start if just_asked and session.reelport is True else 0.0
    policy = _build_wait_policy(token, long_poll) if long_poll else DEFAULT_POLICY
    heartbeat = do_nothing if row is None else partial(work, partial(session.ledger.record_status, row, State.RUNNING))
    longest = _FIRST_LONG_POLL
    while True:
        state = yield from look(session, token, tell, policy, row=row, long_poll=min(long_poll, longest))
        elapsed = session.clock.seconds() - start
        if state.ready:
            tell(Looked(token, state.status, elapsed, None, state.details))
            killpoints.reach("client-finished")
            return state
        bare_since = _refuse_dead_end(state, bare_since, elapsed)
        if start + elapsed >= end:
            raise build_not_finished(token, f"is still {state.status} after {format_duration(deadline)}")
        at_once = state.long_polled or (long_poll == 0.0 and session.reelport is True)
        seconds = 0.0 if at_once else min(next(rhythm), end - start - elapsed)
        tell(Looked(token, state.status, elapsed, seconds, state.details))
        killpoints.reach("client-running")
        if seconds > 0:
            yield Wait(seconds)
        longest = 2 * longest if long_poll else longest
        long_poll = end - session.clock.seconds()
        policy = _build_wait_policy(token, long_poll, heartbeat)


def build_links_error(state: ReportState) -> ServiceError:
    """Build the error for a finished report without links, or not as many as counted."""
    if not state.links:
        return ServiceError(f"The report {state.token} is finished but has no link to a file.", token=state.token)
    return IncompleteDownload(f"The report {state.token} is finished and has "
                              f"{format_count(state.expected or 0, 'file')} by the service's count, but the service "
                              f"gives {format_count(len(state.links), 'link')}. Nothing was kept: download "
                              "it again by its token.", token=state.token)  # fmt: skip


def build_expired(token: str) -> ReportExpired:
    """Build the error of a report that the service no longer has."""
    return ReportExpired(f"The report {token} has expired and its file is gone. Ask for it again.", token=token)


def build_failure(state: ReportState) -> ReportFailed:
    """Build the error of a failed report, by its reason where the service tells one."""
    told = state.details.failure if state.details else None
    if told is None:
        return ReportFailed(
            f"The report {state.token} failed on the service's side. Ask for it again.", token=state.token
        )
    kind = next((reason.error for reason in FailureReason if reason == told.code), ReportFailed)
    error = kind(f"Report {state.token}: {told.message} {told.advice}", token=state.token)
    error.reason = told.code
    return error


def is_worth_a_try(error: ReportFailed) -> bool:
    """Whether another try of the same request may succeed, against nobody's will."""
    return not isinstance(error, ReportTooLarge | ReportCancelled) and error.reason != FailureReason.REFUSED


def build_not_finished(token: str, what: str) -> NotFinished:
    """Build the error that ends a wait early and says how to resume it."""
    return NotFinished(f"The report {token} {what}. It goes on without you. Continue with "
                       f"client.reports.attach({token!r}) or 'reelport report wait {token}'.", token)  # fmt: skip


def _read_accepted(data: Mapping[str, Any]) -> str:
    token = _as_object(_as_object(data.get("askPartnerReportFile")).get("reportFile")).get("reportToken")
    if not isinstance(token, str) or not token or not token.isprintable():
        raise ServiceError("The service accepted the report but gave no token for it.")
    if len(token) > _LONGEST_TOKEN:
        raise ServiceError(
            f"The service accepted the report and gave a token of {format_count(len(token), 'character')} for it. "
            f"At most {_LONGEST_TOKEN:,} can be kept and shown."
        )
    return token


def _read_look(token: str, data: Mapping[str, Any], page: int = 1) -> tuple[ReportState, Links]:
    if data.get("partner") is not None and _as_object(data["partner"]).get("reportFile") is None:
        raise ReportExpired(f"The service knows no report {token} of this key: unknown or expired. Ask for it again.")
    report = _as_object(_as_object(data.get("partner")).get("reportFile"))
    return ReportState(token, _read_status(report)), Links.of(report.get("downloadLinks"), page)


def _read_status(report: Mapping[str, Any]) -> str:
    """Return the report's status as printable text; vendors may have words of their own."""
    word = str(report.get("status") or ReportStatus.IN_PROGRESS)[:80]
    return word if word.isprintable() else ascii(word)


def _translate_look_refusal(token: str, refused: QueryRefused) -> ServiceError:
    """Turn the refusal of a look, whose query is always valid, into an error about the report."""
    if {problem.code.lower() for problem in refused.problems} & _UNKNOWN:
        return ReportExpired(f"The service knows no report {token} of this key: {refused}", token=token)
    return ServiceError(f"The service doesn't show the report {token}: {refused}", token=token, data=refused.data)


def _build_ask_lost(error: ReelportError, *, answered: bool = False) -> AskLost:
    lost = AskLost(f"{error} The report may have been asked for all the same; "
                   "it then holds one of your slots until it is done.")  # fmt: skip
    lost.answered = answered or not isinstance(error, Unreachable)
    return lost


def _build_wait_policy(token: str, left: float, meanwhile: Callable[[], Flow[None]] = do_nothing) -> RetryPolicy:
    return RetryPolicy(
        left,
        longest=left,
        at_end=lambda error: build_not_finished(token, f"can't be looked at any more ({error})"),
        meanwhile=meanwhile,
    )


def _refuse_dead_end(state: ReportState, bare_since: float | None, elapsed: float) -> float | None:
    token = state.token
    match state.status:
        case ReportStatus.FAILED:
            raise build_failure(state)
        case ReportStatus.EXPIRED:
            raise build_expired(token)
        case ReportStatus.FINISHED:
            since = elapsed if bare_since is None else bare_since
            if elapsed - since > _LINKLESS:
                raise build_links_error(state)
            return since
        case _:
            return None


@dataclass(frozen=True, slots=True)
class Links:
    """The links of one or several pages, `expected` in all; `following` is the next page."""

    found: tuple[str, ...] = ()
    expected: int = 0
    total: int | None = None
    following: int | None = None

    @classmethod
    def of(cls, connection: object, page: int) -> Self:
        """Read a page of `downloadLinks`; null has none. Raises ServiceError for another shape."""
        held = _as_object(connection or {})
        edges = held.get("edges") or []
        if not isinstance(edges, list):
            raise ServiceError(_MALFORMED)
        nodes = [_as_object(_as_object(edge or {}).get("node") or {}) for edge in edges]
        found = tuple(link for node in nodes if isinstance(link := node.get("link"), str) and link)
        total = held.get("totalCount")
        counted = total if isinstance(total, int) and not isinstance(total, bool) else None
        expected = len(edges) if counted is None else counted
        return cls(found, expected, counted, _read_next_page(_as_object(held.get("pageInfo") or {}), page))

    def __add__(self, later: Links) -> Links:
        """These links and those of the page after them."""
        total = self.total if later.total is None else later.total
        expected = self.expected + later.expected if total is None else total
        return Links(self.found + later.found, expected, total, later.following)


def _as_object(value: object) -> Mapping[str, object]:
    if isinstance(value, dict):
        return value
    raise ServiceError(_MALFORMED)


def _read_next_page(info: Mapping[str, object], page: int) -> int | None:
    if info.get("hasNextPage") is not True:
        return None
    named = info.get("nextPage")
    following = named if isinstance(named, int) and not isinstance(named, bool) else page + 1
    if following <= page or following > _MOST_PAGES:
        raise ServiceError(f"The service's pages of links never end: page {following} follows page {page}.")
    return following


def _record_status(ledger: Ledger, row: Row, state: ReportState) -> None:
    match state.status:
        case ReportStatus.FAILED:
            ledger.record_end(row, State.FAILED, str(build_failure(state)))
        case ReportStatus.EXPIRED:
            ledger.record_end(row, State.EXPIRED, str(build_expired(state.token)))
        case ReportStatus.FINISHED:
            ledger.record_status(row, State.FINISHED)
        case _:
            ledger.record_status(row, State.RUNNING)
