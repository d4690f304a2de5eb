"""All that is wrong with a command at once: several checks are run, and their errors raised as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from reelport.errors import AccessError, QueryRefused, ReelportError, UsageError


def refuse_together(*checks: Callable[[], object], beside: Sequence[Callable[[], object]] = ()) -> None:
    """Raise what these checks raise: one error as it is, several as one UsageError with the lines of all.

    Those `beside` are run only where something is wrong already: they cost more, and the command makes them anyway.
    """
    errors = [error for check in checks if (error := find_error(check)) is not None]
    if errors:
        errors += [error for check in beside if (error := find_error(check)) is not None]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise UsageError("\n".join(dict.fromkeys(line for error in errors for line in str(error).splitlines())))


def find_error(check: Callable[[], object]) -> ReelportError | None:
    """Run a check and return the error that says what must be given otherwise; None where nothing must."""
    try:
        check()
    except (UsageError, AccessError, QueryRefused) as error:
        return error
    return None
