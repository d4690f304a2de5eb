"""Back-pressure: which refusals mean too many reports, and how long to wait them out."""

from __future__ import annotations

import re
from dataclasses import replace

from reelport.client.session import Session
from reelport.errors import QueryRefused, QueueFull, ReelportError
from reelport.query import ReportQuery
from reelport.wire import Code

# Seconds to wait for reports that aren't in this ledger, where the refusal speaks of reports in flight.
_OUTSIDE = 600.0

_FEW_DAYS = 30  # days that the strictest vendors take in one report; others take 180
# Refusals of a document that never ran.
_MISSHAPEN = frozenset({Code.SYNTAX, Code.INVALID_DOCUMENT, Code.INVALID_VALUE, Code.BAD_BODY, "bad_user_input"}) | {
    "graphql_parse_failed",
    "graphql_validation_failed",
}

_IN_FLIGHT = re.compile(
    r"concurren|simultan|parallel|at (?:a|the same|one) time|at once|in progress|in flight|queue|pending|slots?\b"
    r"|throttl|rate limit|quota|busy|overload|being (?:generated|made|created|processed|computed|prepared|built)"
    r"|(?:are|is|still|already) (?:running|generating|processing)|running (?:reports?|jobs?|requests?|exports?)"
    r"|(?:try|retry|come|ask) (?:it )?(?:again )?later"
)
_MANY = re.compile(r"too many|limit|maximum|exceed|more than|at most|no more")
_OF_THINGS = re.compile(r"\b(?:reports?|requests?|jobs?|tasks?|exports?|files?)\b")
_OF_QUERY = re.compile(
    r"\b(?:days?|dates?|range|period|months?|metrics?|dimensions?|filters?|columns?|fields?|products?)\b"
)
_WRONG = re.compile(r"invalid|unknown|unsupported|not supported|permission|forbidden|does(?: not|n.t) exist|no such")
_WORDS = re.compile(r"[\W_]+|(?<=[a-z])(?=[A-Z])")


def speaks_of_slots(error: QueryRefused) -> bool:
    """Whether a refusal speaks of reports in flight or how many there may be, not the query."""
    for text in _list_texts(error):
        if _IN_FLIGHT.search(text):
            return True
        if _MANY.search(text) and _OF_THINGS.search(text) and not _OF_QUERY.search(text):
            return True
    return False


def speaks_of_query(error: QueryRefused, query: ReportQuery) -> bool:
    """Whether a refusal speaks of a query or a part of this one, not of reports in flight."""
    if speaks_of_slots(error):
        return False
    parts = [*query.metrics, *query.dimensions, *(word for pair in query.filters for word in pair)]
    names = [f" {_WORDS.sub(' ', part).lower()} " for part in parts]
    return any(
        _OF_QUERY.search(text) or _WRONG.search(text) or any(name in f" {text} " for name in names)
        for text in _list_texts(error)
    )


def _list_texts(error: QueryRefused) -> list[str]:
    return [_WORDS.sub(" ", f"{problem.code} {problem.sentence}").lower() for problem in error.problems]


def may_be_slot_refusal(session: Session, query: ReportQuery, error: ReelportError) -> bool:
    """Whether a refused ask can mean that too many reports are in flight.

    No vendor documents how it refuses a third report. So: a host other than a Reelport service refuses the whole
    operation, for a query in which we find nothing wrong. A refusal means the query itself when it names a place in the
    input, comes before anything runs, or speaks of parts of a query.
    """
    if isinstance(error, QueueFull):
        return True
    if session.reelport or not isinstance(error, QueryRefused) or session.check_query(query):
        return False
    if speaks_of_query(error, query):
        return False
    return all(len(problem.path) <= 1 and problem.code.lower() not in _MISSHAPEN for problem in error.problems)


def advise_on_days(
    session: Session, query: ReportQuery, refusal: ReelportError, *, whole: bool = False
) -> ReelportError:
    """Add advice to a refusal for which too many days may be the reason.

    A `whole` report can't be split.
    """
    is_short = query.days <= _FEW_DAYS
    if session.reelport or not isinstance(refusal, QueryRefused) or is_short or session.check_query(query):
        return refusal
    *others, last = refusal.problems
    what = (
        f"ask for {_FEW_DAYS} at most, or let `report run --window-days {_FEW_DAYS}` (run_range) cut them into windows."
        if whole
        else f"--window-days {_FEW_DAYS} (REELPORT_WINDOW_DAYS; in a program run_range) asks for fewer at a time."
    )
    advice = f"If it is the {query.days} days that are too many for one report: {what}"
    sentence = f"{last.sentence.rstrip()} {advice}"
    return QueryRefused((*others, replace(last, sentence=sentence)), data=refusal.data)


class BackPressure:
    """Decide whether one ask waits out its refusals or fails.

    While other reports of this ledger are in flight or being asked for, waiting makes sense. Without any, somebody
    else may hold the slots: where the refusal speaks of that, the ask waits for ten minutes. Any other refusal means
    the query, and so does one that stays after our reports have ended.
    """

    def __init__(self, session: Session, query: ReportQuery, until: float) -> None:
        self._session = session
        self._query = query
        self._until = until
        self._freed = False
        self._alone_since: float | None = None

    def should_wait(self, refusal: ReelportError, others: int) -> bool:
        """Whether to wait, where `others` are in flight."""
        if not may_be_slot_refusal(self._session, self._query, refusal):
            return False
        if others or isinstance(refusal, QueueFull):
            self._freed, self._alone_since = True, None
            return True
        now = self._session.clock.seconds()
        alone = self._alone_since = now if self._alone_since is None else self._alone_since
        outside = _OUTSIDE if isinstance(refusal, QueryRefused) and speaks_of_slots(refusal) else 0.0
        longest = self._session.settings.patience if self._freed else outside
        return now < min(alone + longest, self._until)
