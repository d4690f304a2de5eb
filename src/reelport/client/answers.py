"""What an answer of the service means: data, trouble that may pass, or an error of the tree.

Two shapes of GraphQL errors are understood: ours, with a code in `extensions`, and the
bare `message`, `type`, `path` of another vendor. Texts are passed on, never matched on.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from reelport.client.steps import Lost, Reply
from reelport.errors import (
    AccessError,
    Problem,
    QueryRefused,
    QueueFull,
    ReelportError,
    ServiceError,
    Unreachable,
)
from reelport.wire import Code

Redact = Callable[[str], str]

UNAUTHORIZED, FORBIDDEN, TOO_MANY = 401, 403, 429
_PASSING = frozenset({TOO_MANY, 500, 502, 503, 504})
_OK = 200
_ACCESS = frozenset(
    {Code.UNAUTHENTICATED, "invalid_token", "access_forbidden", "unauthorized", "forbidden", "access_denied"}
)
_FAULT = frozenset({Code.INTERNAL, Code.UNAVAILABLE, "service_unavailable", "timeout"})


@dataclass(frozen=True, slots=True)
class Trouble:
    """A failure that may pass: the error to raise when it doesn't, and how long the service asks to wait.

    `acted` is false only when the service surely did nothing about the request.
    """

    error: ReelportError
    retry_after: float | None = None
    acted: bool = True


def trouble_of(answer: Reply | Lost, host: str, now: datetime, redact: Redact) -> Trouble | None:
    """The trouble that an answer is, whatever the host was asked; None when it is worth reading."""
    match answer:
        case Lost(reason, sent):
            return Trouble(Unreachable(f"{host} gave no answer: {redact(reason)}."), acted=sent)
        case Reply(status) if status in _PASSING:
            said = _first_message(answer, redact)
            error = ServiceError(f"{host} answered HTTP {status}{said}")
            return Trouble(error, _retry_after(answer, now), acted=status != TOO_MANY)
        case _:
            return None


def json_of(reply: Reply, redact: Redact) -> Mapping[str, Any]:
    """The JSON object that a reply holds. Raises Unreachable when it is none: that is no Reporting API."""
    try:
        value = json.loads(_unpacked(reply))
    except (ValueError, RecursionError, OSError, EOFError, zlib.error):
        value = None
    if isinstance(value, dict):
        return value
    raise Unreachable(f"HTTP {reply.status} with {_kind(reply, redact)}: that is no answer of a Reporting API. "
                      "Check the address (REELPORT_URL).")  # fmt: skip


def fault_of(reply: Reply, redact: Redact) -> Trouble | None:
    """The fault of the service that a GraphQL answer tells of, which may pass; None for every other answer."""
    try:
        problems = _problems(json_of(reply, redact), redact)
    except Unreachable:
        return None
    if not problems or any(problem.code not in _FAULT for problem in problems):
        return None
    return Trouble(ServiceError(_sentences(problems)))


def data_of(reply: Reply, redact: Redact) -> Mapping[str, Any]:
    """The `data` of a GraphQL answer.

    Raises AccessError, QueueFull, QueryRefused or ServiceError: errors are raised even when they
    come with status 200 and beside data.
    """
    if reply.status == FORBIDDEN:
        raise AccessError(f"The service refuses this key (HTTP 403){_first_message(reply, redact)}")
    answer = json_of(reply, redact)
    problems = _problems(answer, redact)
    codes = {problem.code for problem in problems}
    if codes & _ACCESS or codes == {Code.SCOPE_MISSING}:
        raise AccessError(_sentences(problems))
    if codes == {Code.TOO_MANY_REPORTS}:
        raise QueueFull(_sentences(problems))
    if problems:
        raise ServiceError(_sentences(problems)) if codes <= _FAULT else QueryRefused(problems)
    data = answer.get("data")
    if reply.status != _OK or not isinstance(data, dict):
        raise ServiceError(f"The service answered HTTP {reply.status} without data: {_keys(answer, redact)}")
    return data


def _problems(answer: Mapping[str, Any], redact: Redact) -> tuple[Problem, ...]:
    return tuple(_problem(error, redact) for error in _list(answer.get("errors")) if isinstance(error, dict))


def _sentences(problems: tuple[Problem, ...]) -> str:
    return "\n".join(problem.sentence for problem in problems)


def _problem(error: dict[str, Any], redact: Redact) -> Problem:
    """One entry of `errors` in either shape."""
    extensions = error.get("extensions")
    extensions = extensions if isinstance(extensions, dict) else {}
    code = extensions.get("code") or error.get("type") or "refused"
    nearest = extensions.get("nearest")
    path = tuple(
        step for step in _list(extensions.get("inputPath") or error.get("path")) if isinstance(step, str | int)
    )
    sentence = error.get("message") or "The service refused without a word."
    return Problem(
        redact(str(code)),
        path,
        redact(str(sentence)),
        redact(nearest) if isinstance(nearest, str) else None,
    )


def _first_message(reply: Reply, redact: Redact) -> str:
    """What a failed answer says of itself, as the end of a sentence."""
    try:
        answer = json_of(reply, redact)
    except Unreachable:
        return f", with {_kind(reply, redact)}."
    for error in _list(answer.get("errors")):
        if isinstance(error, dict) and error.get("message"):
            return f": {redact(str(error['message']))}"
    described = answer.get("error_description") or answer.get("error") or answer.get("message")
    return f": {redact(str(described))}" if described else "."


def _retry_after(reply: Reply, now: datetime) -> float | None:
    """The seconds that `Retry-After` asks for, given as seconds or as a date."""
    text = reply.headers.get("retry-after", "").strip()
    if text.isdecimal():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def _unpacked(reply: Reply) -> bytes:
    return gzip.decompress(reply.body) if reply.headers.get("content-encoding") == "gzip" else reply.body


def _kind(reply: Reply, redact: Redact) -> str:
    """What a body is that isn't what was hoped for."""
    if reply.headers.get("location"):
        return "a redirect elsewhere"
    if reply.body.lstrip()[:1] == b"<":
        return "an HTML page"
    kind = redact(reply.headers.get("content-type", ""))
    return f"a body of {kind} that can't be read" if reply.body and kind else "nothing readable"


def _keys(answer: Mapping[str, Any], redact: Redact) -> str:
    return redact(", ".join(sorted(str(key) for key in answer))) or "an empty object"


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
