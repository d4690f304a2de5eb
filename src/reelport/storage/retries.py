"""When an object store fails: ask again for a while, then say what keeps it from answering.

Time bounds it, not a number: pauses are random, and a number of them may be over in a second. The libraries send a
request again until an answer begins; a small one that breaks in its middle they give up, and it is asked again here.
Two libraries speak to stores, over one client that both are built on. Its messages alone tell what happened. A
message may quote an expired session token, which nothing may show.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from reelport.storage.durable import to_plain_line

PATIENT_SECONDS = 45.0
"""For work that nobody waits for at that moment, or that would have to be begun anew."""
BRIEF_SECONDS = 5.0
"""For what a caller waits for, or holds up others."""
MOST_RETRIES = 10_000
"""A number that is never reached: the libraries want one."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Bounds of the pauses between, in seconds."""
_seconds: ContextVar[float] = ContextVar("retry_seconds")
T = TypeVar("T")

_CUT = ("response body error", "error reading a body")
"""What the client that both libraries are built on says of such an answer."""


@contextmanager
def retry_for(seconds: float) -> Iterator[None]:
    """Let stores that are opened within the block send requests again for so long."""
    token = _seconds.set(seconds)
    try:
        yield
    finally:
        _seconds.reset(token)


def get_retry_seconds() -> float:
    """Return how long a store that is opened now sends requests again."""
    return _seconds.get(PATIENT_SECONDS)


def ask_again(ask: Callable[[], T], seconds: float) -> T:
    """Call until the answer comes whole, for so many seconds; other errors are raised at once."""
    until, pause = time.monotonic() + seconds, FIRST_PAUSE
    while True:
        try:
            return ask()
        except Exception as error:
            if not any(part in str(error) for part in _CUT) or time.monotonic() + pause > until:
                raise
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


_REFUSED = "the store refuses these credentials: look at AWS_ACCESS_KEY_ID and what it may do with the bucket"
_LONGEST = 300
_STATUS = re.compile(r"status code:? (\d{3})(?: [A-Z][A-Za-z-]*)*:?(.*)")
_PASSING = re.compile(r"<Code>(SlowDown|InternalError|ServiceUnavailable|RequestTimeout|Throttl\w*|\w*LimitExceeded)<")
_RETRIES = re.compile(r"(?:\?\S*)? in [0-9.]+[^0-9\s,]+(?:, after \d+ retries, .*?retry_timeout:? \S+)? +- ")
"""What the client tells of its tries, and what it asked for: the rest of the line says what is wrong."""
_UNANSWERED = "HTTP error"
"""What the client says of a request that got no answer, or half of one."""
_NO_CREDENTIALS = frozenset({401, 403})
_PASSING_STATUSES = frozenset({408, 429, 500, 502, 503, 504, 507})
_BAD_REQUEST = 400
_TOKEN_CODES = re.compile(r"<Code>(ExpiredToken|InvalidToken|TokenRefreshRequired)</Code>|<Token-0>")
_EXPIRED = (
    "the store says that these credentials have expired: look at AWS_SESSION_TOKEN, and start again with new ones"
)
"""What is said instead of a message that quotes a session token."""


def describe_outage(message: str) -> str | None:
    """Say what keeps the store from doing anything now; None for any other message."""
    if quotes_token(message):
        return _EXPIRED
    line = shorten_message(message)
    found = _STATUS.search(line)
    status, told = (int(found[1]), found[2].strip()) if found else (0, "")
    if status in _NO_CREDENTIALS:
        return _REFUSED
    if status == _BAD_REQUEST and not told:  # an answer to HEAD has no words, and our requests are well formed
        return f"{_REFUSED}; or they have expired"
    if status in _PASSING_STATUSES or _PASSING.search(line) or (not status and _UNANSWERED in line):
        return describe_failure(line)
    return None


def describe_failure(line: str) -> str:
    """Say in a sentence what the client's message tells."""
    return f"the object store fails: {line[:_LONGEST]}"


def shorten_message(message: str) -> str:
    """Return the client's message on one line, without its tries and dumps."""
    return _RETRIES.sub(": ", to_plain_line(message.partition("Debug source")[0]))


def quotes_token(message: str) -> bool:
    """Whether a library's message repeats the session token."""
    return _TOKEN_CODES.search(message) is not None
