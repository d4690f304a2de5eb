"""Tell a refusal that means "too many reports" from one of the query itself, and how long to wait it out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from reelport.client.session import Session
from reelport.errors import QueryRefused, QueueFull, ReelportError
from reelport.query import ReportQuery
from reelport.wire import Code

_OUTSIDE = 600.0
"""Seconds for which reports that aren't in this ledger may stand in the way, where nothing else speaks for that."""

_FEW_DAYS = 30
"""Days of a report that a vendor may hold to, where others take 180."""

_TAKEN = 3
"""So many other asks that are taken meanwhile show that it isn't the number of reports."""

_MISSHAPEN = frozenset({Code.SYNTAX, Code.INVALID_DOCUMENT, Code.INVALID_VALUE, Code.BAD_BODY, "bad_user_input"}) | {
    "graphql_parse_failed",
    "graphql_validation_failed",
}
"""Refusals of a document that never ran."""


def may_be_crowded(session: Session, query: ReportQuery, error: ReelportError) -> bool:
    """Tell whether a refused ask can mean that too many reports are in flight.

    No vendor says how it refuses a third report. So it is told by structure: towards another host than a Reelport
    service, by a refusal of the operation as a whole of a query in which we see nothing wrong. What is wrong with a
    query is said of its place in the input, or before anything runs.
    """
    if isinstance(error, QueueFull):
        return True
    if session.reelport or not isinstance(error, QueryRefused) or session.checked(query):
        return False
    return all(len(problem.path) <= 1 and problem.code.lower() not in _MISSHAPEN for problem in error.problems)


def advise_on_days(session: Session, query: ReportQuery, refusal: ReelportError) -> ReelportError:
    """Return a refusal which names the setting for days in one report, where it may be that which is refused."""
    if session.reelport or query.days <= _FEW_DAYS or not isinstance(refusal, QueryRefused):
        return refusal
    if session.checked(query):
        return refusal
    *others, last = refusal.problems
    advice = (f"If it is the {query.days} days that are too many for one report: --window-days {_FEW_DAYS} "
              "(REELPORT_WINDOW_DAYS) asks for fewer at a time.")  # fmt: skip
    sentence = f"{last.sentence.rstrip()} {advice}"
    return QueryRefused((*others, replace(last, sentence=sentence)), data=refusal.data)


class Crowding:
    """The refusals of one ask, and what speaks for waiting on.

    While others of ours are in flight, or on their way, there is a reason to wait. Without any somebody else may hold
    the slots: that is waited out for ten minutes, and as long as the wait may last where it is a `window` of a range
    whose like the service took before. When ours have ended and it is still refused, the refusal is the query's.
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
        if not may_be_crowded(self._session, self._query, refusal):
            return False
        self.since = self.since or self._session.clock.now()
        if others or isinstance(refusal, QueueFull):
            self._freed, self._alone_since = True, None
            return True
        now = self._session.clock.seconds()
        alone = self._alone_since = now if self._alone_since is None else self._alone_since
        if taken >= _TAKEN:
            return False
        if self._window and took_its_like():
            return True
        longest = self._session.settings.patience if self._freed else _OUTSIDE
        return now < min(alone + longest, self._until)
