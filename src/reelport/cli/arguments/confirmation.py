"""Asks before what can't be undone: at a terminal by a question; programs say `--yes`."""

from __future__ import annotations

import sys

from reelport.errors import UsageError

_LONGEST_ANSWER = 100


def is_confirmed(question: str) -> bool:
    """Whether the user at the terminal says yes; UsageError where there is no terminal to ask at."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError("nothing was changed: there is no terminal to ask at; add --yes to do it without asking")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline(_LONGEST_ANSWER).strip().lower() in {"y", "yes"}
