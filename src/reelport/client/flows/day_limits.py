"""How many days a service takes in one report, where it refuses more and says so: learned once, and remembered."""

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
"""Words of sentences about days that are no length of a report: how far back there are numbers, when to come again."""


def named_limit(query: ReportQuery, refusal: ReelportError) -> int | None:
    """The number of days that a refusal names as the most for one report, where the query asks for more."""
    if not isinstance(refusal, QueryRefused):
        return None
    found = {_read(problem, query.days) for problem in refusal.problems} - {None}
    return found.pop() if len(found) == 1 else None


def learn(session: Session, query: ReportQuery, refusal: ReelportError, tell: Progress) -> Flow[None]:
    """Remember the number of days that a refusal names, from now on and for the next process, and tell of it once.

    Nothing is learned where the days of a report are set by hand, or where the query is wrong by itself.
    """
    limit = named_limit(query, refusal)
    if limit is None or session.settings.windows is not None or not session.learn(limit):
        return
    if session.ledger is not None:
        yield from work(partial(session.ledger.learn_days, session.settings.url, limit))
    tell(FewerDays(limit, str(refusal)))


def _read(problem: Problem, asked: int) -> int | None:
    """The one number below `asked` that a sentence about the length of a report names."""
    sentence = problem.sentence
    days = {int(number) for number in _OF_DAYS.findall(sentence)}
    if not days or (problem.code != Code.RANGE_TOO_LONG and _OTHER_DAYS.search(sentence)):
        return None
    # "60 days is longer than 30" names both: the number asked for shows what the other one is of.
    named = {int(number) for number in _NUMBER.findall(sentence)} if asked in days else days
    fewer = {number for number in named if 0 < number < asked}
    return fewer.pop() if len(fewer) == 1 else None
