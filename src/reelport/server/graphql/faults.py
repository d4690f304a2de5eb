"""The one form of every error on the GraphQL wire: `message`, `path`, `locations`, `type`, `reason`, `extensions`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from graphql import GraphQLError, Node

from reelport.errors import Problem
from reelport.server.limits.request_size import LISTED
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
    def of_problem(cls, problem: Problem, path: Path | None, node: Node | None = None) -> Self:
        """A problem of a query, told at the field that asked, which lies at `node`."""
        where = () if node is None else location_of(node)
        return cls(CODES[problem.code], problem.sentence, path, where, problem.path or None, problem.nearest)

    def entry(self) -> dict[str, Any]:
        """The error as it goes over the wire; `locations` only when there are any."""
        extensions: dict[str, Any] = {"code": self.code.value}
        if self.input_path is not None:
            extensions["inputPath"] = _steps(self.input_path)
        if self.variable is not None:
            extensions["variable"] = self.variable
        if self.nearest is not None:
            extensions["nearest"] = self.nearest
        entry: dict[str, Any] = {
            "message": shortened(self.message),
            "path": None if self.path is None else _steps(self.path),
        }
        if self.locations:
            entry["locations"] = [{"line": line, "column": column} for line, column in self.locations]
        entry |= {
            "type": _TYPES.get(self.code, _BAD_REQUEST),
            "reason": self.code.sentence,
            "extensions": extensions,
        }
        return entry


def refusal(faults: Iterable[Fault]) -> dict[str, Any]:
    """The answer to a document of which nothing was executed."""
    return {"data": None, "errors": entries(faults)}


def entries(faults: Iterable[Fault]) -> list[dict[str, Any]]:
    """The errors of one answer: each once, and when they are very many a last one says so."""
    distinct = list(dict.fromkeys(faults))
    listed = [fault.entry() for fault in distinct[:LISTED]]
    if len(distinct) > LISTED:
        listed.append(Fault(Code.TOO_LARGE, "There are more problems than are listed here.").entry())
    return listed


def locations_of(error: GraphQLError | None) -> tuple[tuple[int, int], ...]:
    """Where in the document an error lies."""
    found: Sequence[Any] = (error.locations if error is not None else None) or ()
    return tuple((each.line, each.column) for each in found[:5])


def location_of(node: Node) -> tuple[tuple[int, int], ...]:
    """Where in the document a node begins."""
    return ((node.loc.start_token.line, node.loc.start_token.column),) if node.loc else ()


def shortened(text: str, most: int = _LONGEST) -> str:
    """A text that doesn't repeat a whole request."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _steps(path: Path) -> list[str | int]:
    return [shortened(step, _LONGEST_STEP) if isinstance(step, str) else step for step in path]
