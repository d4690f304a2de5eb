"""Asks before what can't be undone: at a terminal by a question, of programs by `--yes`."""

from __future__ import annotations

import sys

from reelport.errors import UsageError


def require_consent(what: str, *, yes: bool) -> None:
    """Return when the user agrees to `what`, a sentence that says all that will end.

    UsageError when the answer is no, and where nobody can be asked and `--yes` isn't said.
    """
    if yes:
        return
    if not (sys.stdin is not None and sys.stdin.isatty()):
        raise UsageError(f"{what} Say --yes to do it.")
    print(f"{what} Do it? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise UsageError("Nothing was changed.")
