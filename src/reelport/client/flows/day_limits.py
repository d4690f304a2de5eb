"""Learn from a refusal how many days a service takes in a report, and remember it."""

from __future__ import annotations

import re
from functools import partial

from reelport.client.events import FewerDays, Progress
from reelport.client.session import Session
from reelport.client.steps import Flow, work
from reelport.errors import Problem, QueryRefused, ReelportError
from reelport.query import ReportQuery
from reelport.wire import Code

LEAST = 7
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
    """Return the days below `asked`, at least LEAST, that a sentence names as the most."""
    sentence = problem.sentence
    if problem.code != Code.RANGE_TOO_LONG and _OTHER_DAYS.search(sentence):
        return None
    days = {int(number) for number in _OF_DAYS.findall(sentence)}
    # "60 days is longer than 30" has no unit at the limit: the number asked for shows which unit it is.
    limits = {int(number) for number, unit in _LIMIT.findall(sentence) if unit or asked in days}
    fewer = {number for number in limits | days if number < asked}
    return fewer.pop() if len(fewer) == 1 and fewer <= limits and min(fewer) >= LEAST else None
