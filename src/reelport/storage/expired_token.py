"""Recognizes a store's answer that quotes a session token which has expired, to hide it."""

from __future__ import annotations

import re

_CODES = re.compile(r"<Code>(ExpiredToken|InvalidToken|TokenRefreshRequired)</Code>|<Token-0>")
SENTENCE = (
    "the store says that these credentials have expired: look at AWS_SESSION_TOKEN, and start again with new ones"
)
"""What is said instead."""


def quotes_token(message: str) -> bool:
    """Whether a library's message repeats the session token."""
    return _CODES.search(message) is not None
