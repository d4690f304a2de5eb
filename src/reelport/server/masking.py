"""Hides passwords in text for people and logs: in URLs, and after `password=`.

Tokens of Spark's address, and of AWS, too.
"""

from __future__ import annotations

import re

HIDDEN = "[hidden]"
EXAMPLE = "postgresql://USER:PASSWORD@HOST:PORT/NAME"
"""Shows users how to write a database URL. It holds no real password, so it isn't masked."""

_PATTERNS = (
    # Up to the last @ of the line: a password may hold characters that should have been escaped, even @ and blanks.
    # One slash instead of two: what is left of the URL where it was taken for a path.
    re.compile(r"(?P<keep>\bpostgres(?:ql)?(?:\+\w+)?:/{1,2}(?:[^:/@\s]*:)?)[^\r\n]*(?=@)", re.IGNORECASE),
    # Secrets of AWS hold slashes.
    re.compile(r"(?P<keep>\b[A-Za-z][\w+.-]+:/{1,2}[^/\s:@]*:)[^\s\"']+(?=@)"),
    re.compile(r"(?P<keep>\bpassword=)[^\s&\"']+", re.IGNORECASE),
    # A parameter of Spark's address, and the session token that AWS repeats when it refuses it.
    re.compile(r"(?P<keep>;token=)[^\s;\"']+", re.IGNORECASE),
    re.compile(r"(?P<keep><Token-\d+>)[^<\s]*"),
)


def hide_passwords(text: str) -> str:
    """Hide each password in a text; in a PostgreSQL URL all before the last @ but `user:`."""
    parts = text.split(EXAMPLE)
    for pattern in _PATTERNS:
        parts = [pattern.sub(lambda found: found["keep"] + HIDDEN, part) for part in parts]
    return EXAMPLE.join(parts)
