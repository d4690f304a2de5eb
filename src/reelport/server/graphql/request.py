"""Parses a GraphQL request strictly, body and `Prefer` header, or says why it is refused."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from reelport.server.graphql.faults import Fault
from reelport.wire import Code

_WAIT = re.compile(r'\s*wait\s*=\s*(?:"([0-9]{1,9})"|([0-9]{1,9}))\s*(?:;.*)?', re.IGNORECASE)
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Request:
    """A parsed request: document, values of variables, name of the operation."""

    query: str
    variables: dict[str, Any] = field(default_factory=dict)
    operation: str | None = None


def parse_body(body: bytes) -> Request | Fault:
    """Parse a body; return what is wrong with it instead when it is refused."""
    try:
        given = json.loads(
            body.decode("utf-8-sig"),
            object_pairs_hook=_build_object,
            parse_constant=_refuse_constant,
            parse_float=_parse_finite,
        )
    except UnicodeDecodeError:
        return _bad_body("The body isn't UTF-8.")
    except RecursionError:
        return _bad_body("The body is JSON that is nested too deeply.")
    except _AmbiguousJson as refused:
        return _bad_body(str(refused))
    except json.JSONDecodeError as error:
        return _bad_body(f"The body isn't JSON: {error.msg}, at line {error.lineno}, column {error.colno}.")
    except ValueError:
        return _bad_body("The body holds a number with too many digits.")
    return _parse_request(given)


def _parse_request(given: Any) -> Request | Fault:  # noqa: ANN401 - JSON
    match given:
        case list():
            return _bad_body("The body is a list: send one object a request, with as many aliased fields as you need.")
        case {"query": str(query)} if query.strip():
            pass
        case dict():
            return _bad_body("The body has no `query`: send the document as a text of that name.")
        case _:
            return _bad_body("The body isn't an object: send one with a `query`.")
    variables, operation = given.get("variables"), given.get("operationName")
    if not (variables is None or isinstance(variables, dict)):
        return _bad_body("`variables` isn't an object.")
    if not (operation is None or isinstance(operation, str)):
        return _bad_body("`operationName` isn't a text.")
    return Request(query, variables or {}, operation or None)


class _AmbiguousJson(ValueError):
    """JSON without a single meaning: a repeated key, NaN, or a number too large for a float."""


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        name, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise _AmbiguousJson(f"The body has the key {name[:80]!r} twice in one object.")
    return found


def _refuse_constant(word: str) -> float:
    raise _AmbiguousJson(f"The body holds {word}, which isn't JSON.")


def _parse_finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise _AmbiguousJson(f"The body holds {digits[:80]}, which is larger than any number that is read here.")
    return number


def _bad_body(sentence: str) -> Fault:
    return Fault(Code.BAD_BODY, sentence)


def parse_wait(headers: Iterable[str], most: int) -> int:
    """Return the seconds of the first valid `wait`, at most `most`; 0 when there is none."""
    for header in headers:
        for preference in header.split(",") if len(header) <= _LONGEST else ():
            if found := _WAIT.fullmatch(preference):
                return min(int(found[1] or found[2]), most)
    return 0
