"""Errors of GraphQL answers, all in one form.

Its keys are message, path, locations, type, reason and extensions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from graphql import GraphQLError, Node

from reelport.errors import Problem
from reelport.server.limits.document_limits import MAX_LISTED
from reelport.wire import Code

Path = tuple[str | int, ...]

_CODES = {code.value: code for code in Code}
_LONGEST = 500
_LONGEST_STEP = 100

_TYPES = {
    Code.UNAUTHENTICATED: "invalid_token",
    Code.SCOPE_MISSING: "access_forbidden",
    Code.TOO_MANY_REPORTS: "too_many_requests",
    Code.UNAVAILABLE: "internal_error",
    Code.INTERNAL: "internal_error",
}
_BAD_REQUEST = "bad_request"
TYPES = (_BAD_REQUEST, *sorted(set(_TYPES.values())))
"""Every `type` that an error can have."""


@dataclass(frozen=True, slots=True)
class Fault:
    """An error of an answer: `path` leads into the answer, `input_path` into `input`."""

    code: Code
    message: str
    path: Path | None = None
    locations: tuple[tuple[int, int], ...] = ()
    input_path: Path | None = None
    nearest: str | None = None
    variable: str | None = None

    @classmethod
    def from_problem(
        cls, problem: Problem, path: Path | None, node: Node, above: Path = (), variable: str | None = None
    ) -> Self:
        """Make the error for a problem of the field at `path`, found at `node` of the document.

        `above` is the path within the field's input to the value that the problem's own path begins at.
        """
        where = ((node.loc.start_token.line, node.loc.start_token.column),) if node.loc else ()
        input_path = (*above, *problem.path) or None
        return cls(_CODES[problem.code], problem.sentence, path, where, input_path, problem.nearest, variable)

    def format(self) -> dict[str, Any]:
        """Return the error as JSON; `locations` only when there are any."""
        extensions: dict[str, Any] = {"code": self.code.value}
        if self.input_path is not None:
            extensions["inputPath"] = _shorten_path(self.input_path)
        if self.variable is not None:
            extensions["variable"] = self.variable
        if self.nearest is not None:
            extensions["nearest"] = self.nearest
        entry: dict[str, Any] = {
            "message": shorten(self.message),
            "path": None if self.path is None else _shorten_path(self.path),
        }
        if self.locations:
            entry["locations"] = [{"line": line, "column": column} for line, column in self.locations]
        entry |= {
            "type": _TYPES.get(self.code, _BAD_REQUEST),
            "reason": self.code.sentence,
            "extensions": extensions,
        }
        return entry


def format_refusal(faults: Iterable[Fault]) -> dict[str, Any]:
    """Return the answer to a request of which nothing was executed."""
    return {"data": None, "errors": format_errors(faults)}


def format_errors(faults: Iterable[Fault]) -> list[dict[str, Any]]:
    """Return an answer's errors as JSON, each once; a last entry says when there are more."""
    distinct = list(dict.fromkeys(faults))
    listed = [fault.format() for fault in distinct[:MAX_LISTED]]
    if len(distinct) > MAX_LISTED:
        listed.append(Fault(Code.TOO_LARGE, "There are more problems than are listed here.").format())
    return listed


def list_locations(error: GraphQLError) -> tuple[tuple[int, int], ...]:
    """Return line and column of at most five places of an error in the document."""
    return tuple((each.line, each.column) for each in (error.locations or ())[:5])


def shorten(text: str, most: int = _LONGEST) -> str:
    """Cut a text that quotes the request."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _shorten_path(path: Path) -> list[str | int]:
    return [shorten(step, _LONGEST_STEP) if isinstance(step, str) else step for step in path]
