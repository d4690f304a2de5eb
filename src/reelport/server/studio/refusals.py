"""Why a page isn't shown: raised by endpoints, shown as a page that says what to do."""

from __future__ import annotations

from dataclasses import dataclass


# Not frozen: a context manager that an exception passes, such as a transaction, sets its traceback.
@dataclass(eq=False, slots=True)
class Refused(Exception):
    """The request is refused: HTTP status, a heading, and a sentence with what to do."""

    status: int
    heading: str
    sentence: str
    retry_after: int | None = None


@dataclass(eq=False, slots=True)
class SignInNeeded(Exception):
    """The page is for signed-in users; after signing in, the browser goes to `path`."""

    path: str


def not_found() -> Refused:
    """Make the refusal (404) of an id that is unknown or another organization's.

    It doesn't say which.
    """
    return Refused(404, "Nothing is here", "There is no such page, or it isn't yours to see.")
