"""Tell a refusal that means "too many reports" from one of the query itself, and how long to wait it out."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from reelport.client.flows.day_limits import named_limit
from reelport.client.session import Session
from reelport.errors import QueryRefused, QueueFull, ReelportError
from reelport.query import ReportQuery
from reelport.wire import Code

_OUTSIDE = 600.0
"""Seconds for which reports that aren't in this ledger may stand in the way, where the refusal's words are of that."""

_FEW_DAYS = 30
"""Days of a report that a vendor may hold to, where others take 180."""

_TAKEN = 3
"""So many other asks that are taken meanwhile show that it isn't the number of reports."""

_MISSHAPEN = frozenset({Code.SYNTAX, Code.INVALID_DOCUMENT, Code.INVALID_VALUE, Code.BAD_BODY, "bad_user_input"}) | {
    "graphql_parse_failed",
    "graphql_validation_failed",
}
"""Refusals of a document that never ran."""


_AT_WORK = re.compile(
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
    """Tell whether the words of a refusal are of reports at work, or of how many there may be, and not of a query."""
    for text in _texts(error):
        if _AT_WORK.search(text):
            return True
        if _MANY.search(text) and _OF_THINGS.search(text) and not _OF_QUERY.search(text):
            return True
    return False


def speaks_of_query(error: QueryRefused, query: ReportQuery) -> bool:
    """Tell whether the words of a refusal are of a query, or name a part of this one, and not of reports at work."""
    if speaks_of_slots(error):
        return False
    parts = [*query.metrics, *query.dimensions, *(word for pair in query.filters for word in pair)]
    names = [f" {_WORDS.sub(' ', part).lower()} " for part in parts]
    return any(
        _OF_QUERY.search(text) or _WRONG.search(text) or any(name in f" {text} " for name in names)
        for text in _texts(error)
    )


def _texts(error: QueryRefused) -> list[str]:
    """What each problem says, its code first: words in lower case with a blank between two."""
    return [_WORDS.sub(" ", f"{problem.code} {problem.sentence}").lower() for problem in error.problems]


def may_be_slot_refusal(session: Session, query: ReportQuery, error: ReelportError) -> bool:
    """Tell whether a refused ask can mean that too many reports are in flight.

    No vendor says how it refuses a third report. So it is told by structure: towards another host than a Reelport
    service, by a refusal of the operation as a whole of a query in which we see nothing wrong. What is wrong with a
    query is said of its place in the input, or before anything runs; what speaks of a query's parts is of those too.
    """
    if isinstance(error, QueueFull):
        return True
    if session.reelport or not isinstance(error, QueryRefused) or session.checked(query):
        return False
    if named_limit(query, error) is not None or speaks_of_query(error, query):
        return False
    return all(len(problem.path) <= 1 and problem.code.lower() not in _MISSHAPEN for problem in error.problems)


def advise_on_days(
    session: Session, query: ReportQuery, refusal: ReelportError, *, whole: bool = False
) -> ReelportError:
    """Return a refusal which names the setting for days in one report, where it may be that which is refused.

    A `whole` report can't be had in windows. What was learned of the days needs no advice.
    """
    if session.reelport or not isinstance(refusal, QueryRefused):
        return refusal
    limit = named_limit(query, refusal)
    if (limit is None and query.days <= _FEW_DAYS) or (limit is not None and session.settings.windows is None):
        return refusal
    if session.checked(query):
        return refusal
    *others, last = refusal.problems
    days = limit or _FEW_DAYS
    what = (
        f"ask for {days} at most, or let `report run` (run_range) cut them into windows."
        if whole
        else f"--window-days {days} (REELPORT_WINDOW_DAYS; in a program run_range) asks for fewer at a time."
    )
    advice = f"If it is the {query.days} days that are too many for one report: {what}"
    sentence = f"{last.sentence.rstrip()} {advice}"
    return QueryRefused((*others, replace(last, sentence=sentence)), data=refusal.data)


class BackPressure:
    """The refusals of one ask, and what speaks for waiting on.

    While others of ours are in flight, or on their way, there is a reason to wait. Without any somebody else may hold
    the slots, where the refusal speaks of that: it is waited out for ten minutes, and as long as the wait may last
    where it is a `window` of a range whose like the service took before. Any other refusal is the query's, and so is
    one that stays when ours have ended.
    """

    def __init__(self, session: Session, query: ReportQuery, until: float, *, window: bool) -> None:
        self._session = session
        self._query = query
        self._until = until
        self._window = window
        self._freed = False
        self._alone_since: float | None = None
        self.since: datetime | None = None

    def waits(self, refusal: ReelportError, others: int, taken: int, took_its_like: Callable[[], bool]) -> bool:
        """Tell whether a refusal is to be waited out.

        `others` reports of the key are in flight, `taken` were asked for since the first refusal.
        """
        if not may_be_slot_refusal(self._session, self._query, refusal):
            return False
        self.since = self.since or self._session.clock.now()
        if others or isinstance(refusal, QueueFull):
            self._freed, self._alone_since = True, None
            return True
        now = self._session.clock.seconds()
        alone = self._alone_since = now if self._alone_since is None else self._alone_since
        if taken >= _TAKEN:
            return False
        speaks = isinstance(refusal, QueryRefused) and speaks_of_slots(refusal)
        if speaks and self._window and took_its_like():
            return True
        outside = _OUTSIDE if speaks else 0.0
        longest = self._session.settings.patience if self._freed else outside
        return now < min(alone + longest, self._until)
