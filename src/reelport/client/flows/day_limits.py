"""Learn from a refusal how many days a service takes in one report, and remember the number."""

from __future__ import annotations

import re
from functools import partial

from reelport.client.events import FewerDays, Progress
from reelport.client.session import Session
from reelport.client.steps import Flow, work
from reelport.errors import Problem, QueryRefused, ReelportError
from reelport.query import ReportQuery
from reelport.wire import Code

_NUMBER = re.compile(r"(?<![\d.,:/-])\d{1,4}(?![\d.,:/-]*\d)")
_OF_DAYS = re.compile(r"(?<![\d.,:/-])(\d{1,4})[\s-]*(?:full|whole|calendar|consecutive)?[\s-]*days?\b", re.IGNORECASE)
_OTHER_DAYS = re.compile(
    r"\b(?:old(?:er)?|ago|last|past|recent|retention|history|kept|delay|wait|retry|again|expires?|per)\b", re.IGNORECASE
)
"""Words of sentences whose days aren't a report's length: how far back numbers go, when to retry."""


def find_named_limit(query: ReportQuery, refusal: ReelportError) -> int | None:
    """Return the most days for one report that a refusal names, where the query asks for more; else None."""
    if not isinstance(refusal, QueryRefused):
        return None
    found = {_read_limit(problem, query.days) for problem in refusal.problems} - {None}
    return found.pop() if len(found) == 1 else None


def learn_limit(session: Session, query: ReportQuery, refusal: ReelportError, tell: Progress) -> Flow[None]:
    """Remember the limit of days that a refusal names, also for the next process, and report it once.

    Learns nothing where the user set the days of a report, or where the query is wrong in itself.
    """
    limit = find_named_limit(query, refusal)
    if limit is None or session.settings.windows is not None or not session.learn(limit):
        return
    if session.ledger is not None:
        yield from work(partial(session.ledger.record_day_limit, session.settings.url, limit))
    tell(FewerDays(limit, str(refusal)))


def _read_limit(problem: Problem, asked: int) -> int | None:
    """Return the one number below `asked` in a sentence about a report's length; None for several or none."""
    sentence = problem.sentence
    days = {int(number) for number in _OF_DAYS.findall(sentence)}
    if not days or (problem.code != Code.RANGE_TOO_LONG and _OTHER_DAYS.search(sentence)):
        return None
    # "60 days is longer than 30" names both: the number asked for shows that the other one counts days too.
    named = {int(number) for number in _NUMBER.findall(sentence)} if asked in days else days
    fewer = {number for number in named if 0 < number < asked}
    return fewer.pop() if len(fewer) == 1 else None
