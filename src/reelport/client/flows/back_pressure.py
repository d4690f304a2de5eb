"""Tell too many reports or days from a refused query, and how long to wait (back-pressure)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial

from reelport.client.events import FewerDays, Progress
from reelport.client.session import Session
from reelport.client.steps import Flow, work
from reelport.errors import Problem, QueryRefused, QueueFull, ReelportError
from reelport.query import ReportQuery
from reelport.wire import Code

_OUTSIDE = 600.0
"""Seconds to wait for reports that aren't in this ledger, where the refusal speaks of reports in flight."""

_FEW_DAYS = 30
"""Days that the strictest vendors take in one report; others take 180."""

_TAKEN = 3
"""When the service takes this many other asks meanwhile, the number of reports isn't the reason."""

_MISSHAPEN = frozenset({Code.SYNTAX, Code.INVALID_DOCUMENT, Code.INVALID_VALUE, Code.BAD_BODY, "bad_user_input"}) | {
    "graphql_parse_failed",
    "graphql_validation_failed",
}
"""Refusals of a document that never ran."""


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

_FEWEST_DAYS = 7
"""The fewest days that are learned: no known service takes less than a week, and a misread number would be kept."""

_DAYS = r"[\s-]*(?:full|whole|calendar|consecutive)?[\s-]*days?\b"
_OF_DAYS = re.compile(rf"(?<![\d.,:/-])(\d{{1,4}}){_DAYS}", re.IGNORECASE)
_LIMIT = re.compile(
    r"\b(?:(?:longer|more|greater|larger|wider)\s+than|exceed(?:s|ing)?|at\s+most|up\s+to|only\s+an?|"
    r"(?:max(?:imum|\.)?|limit(?:ed)?)(?:\s+(?:date|range|period|length|span|window|is|of|to))*)\s*[:=]?\s*"
    rf"(\d{{1,4}})(?:({_DAYS})|(?=\s*(?:[.,:;!)]\D|[.,:;!)]?$)))",
    re.IGNORECASE,
)
"""Words for the most that is taken, and their number: with its unit, or last in its clause."""

_OTHER_DAYS = re.compile(
    r"\b(?:old(?:er)?|ago|last|past|recent|newest|first|final|retention|history|kept|delay|wait|retry|again|expires?|"
    r"per|within|after|before|today|trial|quota|least|min(?:imum)?)\b",
    re.IGNORECASE,
)
"""Words of sentences whose days aren't a report's length: how far back numbers go, when to retry."""


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
    """Return the code and sentence of each problem as lower-case words, one blank apart."""
    return [_WORDS.sub(" ", f"{problem.code} {problem.sentence}").lower() for problem in error.problems]


def may_be_slot_refusal(session: Session, query: ReportQuery, error: ReelportError) -> bool:
    """Whether a refused ask can mean that too many reports are in flight.

    No vendor documents how it refuses a third report, so the structure decides: a host other than a Reelport service
    refuses the whole operation, for a query in which we find nothing wrong. A refusal means the query itself when it
    names a place in the input, comes before anything runs, or speaks of parts of a query.
    """
    if isinstance(error, QueueFull):
        return True
    if session.reelport or not isinstance(error, QueryRefused) or session.check_query(query):
        return False
    if find_named_limit(query, error) is not None or speaks_of_query(error, query):
        return False
    return all(len(problem.path) <= 1 and problem.code.lower() not in _MISSHAPEN for problem in error.problems)


def advise_on_days(
    session: Session, query: ReportQuery, refusal: ReelportError, *, whole: bool = False
) -> ReelportError:
    """Add advice on the days of one report to a refusal, where too many days may be the reason.

    A `whole` report can't be split into windows. A limit that the client learned itself needs no advice.
    """
    if session.reelport or not isinstance(refusal, QueryRefused):
        return refusal
    limit = find_named_limit(query, refusal)
    if (limit is None and query.days <= _FEW_DAYS) or (limit is not None and session.settings.windows is None):
        return refusal
    if session.check_query(query):
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
    """Decide whether one ask waits out its refusals or fails.

    While other reports of this ledger are in flight or being asked for, waiting makes sense. Without any, somebody
    else may hold the slots: where the refusal speaks of that, the ask waits for ten minutes, or until the deadline
    for a `window` of a range when the service took a similar window before. Any other refusal means the query, and
    so does one that stays after our reports have ended.
    """

    def __init__(self, session: Session, query: ReportQuery, until: float, *, window: bool) -> None:
        self._session = session
        self._query = query
        self._until = until
        self._window = window
        self._freed = False
        self._alone_since: float | None = None
        self.since: datetime | None = None

    def should_wait(self, refusal: ReelportError, others: int, taken: int, took_similar: Callable[[], bool]) -> bool:
        """Whether to wait out a refusal.

        `others` reports of the key are in flight; the service took `taken` asks since the first refusal.
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
        if speaks and self._window and took_similar():
            return True
        outside = _OUTSIDE if speaks else 0.0
        longest = self._session.settings.patience if self._freed else outside
        return now < min(alone + longest, self._until)


def find_named_limit(query: ReportQuery, refusal: ReelportError) -> int | None:
    """Return the most days of a report that a refusal names, if the query asks for more."""
    if not isinstance(refusal, QueryRefused):
        return None
    found = {_read_limit(problem, query.days) for problem in refusal.problems} - {None}
    return found.pop() if len(found) == 1 else None


def learn_limit(session: Session, query: ReportQuery, refusal: ReelportError, tell: Progress) -> Flow[None]:
    """Remember the limit of days in a refusal, for the next process too; report it once.

    Learns nothing where the user set the days of a report, or where the query is wrong in itself.
    """
    limit = find_named_limit(query, refusal)
    if limit is None or session.settings.windows is not None or not session.learn_day_limit(limit):
        return
    yield from work(partial(session.ledger.record_day_limit, session.settings.url, limit))
    tell(FewerDays(limit, str(refusal)))


def _read_limit(problem: Problem, asked: int) -> int | None:
    """Return the days below `asked`, at least _FEWEST_DAYS, that a sentence names as the most."""
    sentence = problem.sentence
    if problem.code != Code.RANGE_TOO_LONG and _OTHER_DAYS.search(sentence):
        return None
    days = {int(number) for number in _OF_DAYS.findall(sentence)}
    # "60 days is longer than 30" has no unit at the limit: the number asked for shows which unit it is.
    limits = {int(number) for number, unit in _LIMIT.findall(sentence) if unit or asked in days}
    fewer = {number for number in limits | days if number < asked}
    return fewer.pop() if len(fewer) == 1 and fewer <= limits and min(fewer) >= _FEWEST_DAYS else None
