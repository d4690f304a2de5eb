"""Tells by a message of an object store's client whether the store does nothing for now.

Two libraries speak to stores, over one client that both are built on. Its messages alone tell what happened. A
message may quote an expired session token, which nothing may show.
"""

from __future__ import annotations

import re

from reelport.storage.durable import to_plain_line

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
