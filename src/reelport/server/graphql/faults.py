"""The one form of every error on the GraphQL wire: `message`, `path`, `locations`, `type`, `reason`, `extensions`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from graphql import GraphQLError, Node

from reelport.errors import Problem
from reelport.server.limits.request_size import MAX_LISTED
from reelport.wire import Code

Path = tuple[str | int, ...]

CODES = {code.value: code for code in Code}

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
    """One error. `path` leads into the answer, `input_path` into the field's `input`."""

    code: Code
    message: str
    path: Path | None = None
    locations: tuple[tuple[int, int], ...] = ()
    input_path: Path | None = None
    nearest: str | None = None
    variable: str | None = None

    @classmethod
    def from_problem(cls, problem: Problem, path: Path | None, node: Node | None = None) -> Self:
        """A problem of a query, told at the field that asked, which lies at `node`."""
        where = () if node is None else locate_node(node)
        return cls(CODES[problem.code], problem.sentence, path, where, problem.path or None, problem.nearest)

    def format(self) -> dict[str, Any]:
        """The error as it goes over the wire; `locations` only when there are any."""
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
    """The answer to a document of which nothing was executed."""
    return {"data": None, "errors": format_errors(faults)}


def format_errors(faults: Iterable[Fault]) -> list[dict[str, Any]]:
    """The errors of one answer: each once, and when they are very many a last one says so."""
    distinct = list(dict.fromkeys(faults))
    listed = [fault.format() for fault in distinct[:MAX_LISTED]]
    if len(distinct) > MAX_LISTED:
        listed.append(Fault(Code.TOO_LARGE, "There are more problems than are listed here.").format())
    return listed


def list_locations(error: GraphQLError | None) -> tuple[tuple[int, int], ...]:
    """Where in the document an error lies."""
    found: Sequence[Any] = (error.locations if error is not None else None) or ()
    return tuple((each.line, each.column) for each in found[:5])


def locate_node(node: Node) -> tuple[tuple[int, int], ...]:
    """Where in the document a node begins."""
    return ((node.loc.start_token.line, node.loc.start_token.column),) if node.loc else ()


def shorten(text: str, most: int = _LONGEST) -> str:
    """A text that doesn't repeat a whole request."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _shorten_path(path: Path) -> list[str | int]:
    return [shorten(step, _LONGEST_STEP) if isinstance(step, str) else step for step in path]
