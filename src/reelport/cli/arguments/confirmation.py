"""Ask for confirmation before a change that can't be undone; programs pass `--yes` instead."""

from __future__ import annotations

import sys

from reelport.errors import UsageError

_LONGEST_ANSWER = 100


def has_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin is not None and sys.stdin.isatty()


def is_confirmed(question: str) -> bool:
    """Ask at the terminal whether to go on; a no is told. Raises UsageError without a terminal."""
    if not has_terminal():
        raise UsageError("nothing was changed: there is no terminal to ask at; add --yes to do it without asking")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline(_LONGEST_ANSWER).strip().lower() in {"y", "yes"}:
        return True
    print("Nothing was changed.", file=sys.stderr)
    return False
