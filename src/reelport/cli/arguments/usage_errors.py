"""Run several checks of a command, and raise their errors as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from reelport.errors import AccessError, QueryRefused, ReelportError, UsageError


def refuse_together(*checks: Callable[[], object], beside: Sequence[Callable[[], object]] = ()) -> None:
    """Run the checks; raise one error unchanged, several as one UsageError with all lines.

    Checks in `beside` run only where another has failed: they cost more, and the command makes them later anyway.
    """
    errors = [error for check in checks if (error := find_error(check)) is not None]
    if errors:
        errors += [error for check in beside if (error := find_error(check)) is not None]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise UsageError("\n".join(dict.fromkeys(line for error in errors for line in str(error).splitlines())))


def find_error(check: Callable[[], object]) -> ReelportError | None:
    """Run a check and return its UsageError, AccessError or QueryRefused; None where it passes."""
    try:
        check()
    except (UsageError, AccessError, QueryRefused) as error:
        return error
    return None
