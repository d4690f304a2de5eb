"""Hides passwords in text that people or logs will read: in addresses of databases and of others, and by name."""

from __future__ import annotations

import re

HIDDEN = "[hidden]"
EXAMPLE = "postgresql://USER:PASSWORD@HOST:PORT/NAME"
"""How an address is written: it shows nobody's password, and is left as it is."""

_PATTERNS = (
    # To the last @ of the line: a password may hold any sign that should have been escaped, an @ and blanks too. One
    # slash is left of two where the address was taken for a path.
    re.compile(r"(?P<keep>\bpostgres(?:ql)?(?:\+\w+)?:/{1,2}(?:[^:/@\s]*:)?)[^\r\n]*(?=@)", re.IGNORECASE),
    re.compile(r"(?P<keep>://[^/\s:@]*:)[^/\s@]+(?=@)"),
    re.compile(r"(?P<keep>\bpassword=)[^\s&\"']+", re.IGNORECASE),
)


def hide_passwords(text: str) -> str:
    """The text with HIDDEN for each password, and for what else stands before the @ where that is no name."""
    return EXAMPLE.join(_hide(part) for part in text.split(EXAMPLE))


def _hide(text: str) -> str:
    for pattern in _PATTERNS:
        text = pattern.sub(lambda found: found["keep"] + HIDDEN, text)
    return text
