"""Interpret a response of the service: data, a failure worth a retry, or a ReelportError.

Understands two shapes of GraphQL errors: ours, with a code in `extensions`, and another vendor's
bare `message`, `type` and `path`. Texts of errors are passed on, never matched against.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from reelport.client.steps import Lost, Reply
from reelport.errors import AccessError, Problem, QueryRefused, QueueFull, ReelportError, ServiceError, Unreachable
from reelport.report_details import EXTENSION, Failure, ReportDetails
from reelport.wire import Code
from reelport.wording import format_count

Redact = Callable[[str], str]

OK, UNAUTHORIZED, FORBIDDEN = 200, 401, 403
_TOO_EARLY, _TOO_MANY, _UNAVAILABLE = 425, 429, 503
_FAILED = range(500, 600)
_FINAL = frozenset({501, 505, 511})  # HTTP failures that a retry doesn't help
_GZIP, _LARGEST = 31, 16 << 20
_LONGEST_DATE, _LONGEST_PAUSE = 64, 1e9
_MOST_PROBLEMS = 200  # entries of `errors` that are told; each has 1,000 signs at most
_LONGEST_PATH = 16  # steps of a problem's path that are kept at most; none of our own paths is longer than 2

# Codes are compared in lower case; a number is an HTTP status that some services repeat as a code.
_TOKEN = frozenset(
    {Code.UNAUTHENTICATED, "invalid_token", "expired_token", "token_expired", "invalid_access_token", "unauthorized"}
) | {"401"}
_FORBIDDEN = frozenset({"access_forbidden", "forbidden", "access_denied", "insufficient_scope", "missing_permissions"})
_ACCESS = _TOKEN | _FORBIDDEN | {"403"}
_FULL = {Code.TOO_MANY_REPORTS, "too_many_requests", "rate_limited", "rate_limit_exceeded", "throttled"}
_FULL |= {"quota_exceeded", "429"}
_FAULT = {Code.INTERNAL, Code.UNAVAILABLE, "internal_server_error", "service_unavailable", "timeout"}
_FAULT |= {"500", "502", "503", "504"}


@dataclass(frozen=True, slots=True)
class TransientFailure:
    """A failure worth a retry: the error if retries don't help, and the wait asked for.

    `acted` is false only when the service surely did nothing; `too_many`: it refused for too many requests (HTTP 429).
    """

    error: ReelportError
    retry_after: float | None = None
    acted: bool = True
    too_many: bool = False


def find_failure(answer: Reply | Lost, host: str, now: datetime, redact: Redact) -> TransientFailure | None:
    """Return the transient failure in a response to any kind of request; None without one."""
    match answer:
        case Lost(reason, sent):
            return TransientFailure(Unreachable(f"{host} gave no answer: {redact(reason)}."), acted=sent)
        case Reply(status) if status in {_TOO_EARLY, _TOO_MANY} or (status in _FAILED and status not in _FINAL):
            pause = _read_retry_after(answer, now)
            wish = "" if pause is None else f" It asks for a pause of {pause:.0f} s."
            error = ServiceError(f"{host} answered HTTP {status}{_find_first_message(answer, redact)}{wish}")
            # Who names a time to come back has looked at the request and put it off.
            put_off = status in {_TOO_EARLY, _TOO_MANY} or (status == _UNAVAILABLE and pause is not None)
            return TransientFailure(error, pause, acted=not put_off, too_many=status == _TOO_MANY)
        case _:
            return None


def parse_object(reply: Reply, redact: Redact) -> Mapping[str, Any]:
    """Parse a reply's body as a JSON object. Raises Unreachable: no Reporting API is there."""
    unasked = reply.headers.get("content-encoding") == "gzip"
    try:
        value = json.loads(zlib.decompressobj(wbits=_GZIP).decompress(reply.body, _LARGEST) if unasked else reply.body)
    except (ValueError, RecursionError, zlib.error):
        value = None
    if isinstance(value, dict):
        return value
    body = _describe_body(reply, redact)
    raise Unreachable(f"HTTP {reply.status} with {body}: a Reporting API doesn't answer so. "
                      "Check the address (REELPORT_URL).")  # fmt: skip


def find_fault(reply: Reply, redact: Redact) -> TransientFailure | None:
    """Return the transient server fault in a GraphQL answer; None for every other answer."""
    codes, sentences, _ = _describe_reply(reply, redact)
    return TransientFailure(ServiceError(sentences)) if codes and codes <= _FAULT else None


def refuses_token(reply: Reply, redact: Redact) -> bool:
    """Whether an answer refuses the token and has no data: another token may be tried."""
    codes, _, data = _describe_reply(reply, redact)
    held = any(value is not None for value in data.values()) if isinstance(data, dict) else data is not None
    return reply.status == UNAUTHORIZED or (bool(codes & _TOKEN) and not held)


def read_data(reply: Reply, redact: Redact) -> Mapping[str, Any]:
    """Return the `data` of a GraphQL answer.

    Raises AccessError, QueueFull, QueryRefused or ServiceError also for errors with status 200 or beside data, which
    the exception then carries.
    """
    if reply.status == FORBIDDEN:
        raise AccessError(f"The service refuses this key (HTTP 403){_find_first_message(reply, redact)}")
    answer = parse_object(reply, redact)
    data = answer.get("data")
    held = data if isinstance(data, dict) else None
    problems = tuple(_read_problems(answer, redact))
    if problems:
        raise _build_refusal(problems, held)
    if reply.status != OK or held is None:
        keys = redact(", ".join(sorted(str(key) for key in answer))) or "an empty object"
        raise ServiceError(f"The service answered HTTP {reply.status} without data: {keys}")
    return held


def find_details(reply: Reply, token: str, redact: Redact) -> ReportDetails | None:
    """Find what a Reelport service tells of a report beside its answer, or None."""
    try:
        extensions = parse_object(reply, redact).get("extensions")
    except Unreachable:
        return None
    ours = extensions.get(EXTENSION) if isinstance(extensions, dict) else None
    reports = ours.get("reports") if isinstance(ours, dict) else None
    for given in reports if isinstance(reports, list) else ():
        details = ReportDetails.from_json(given)
        if details is not None and details.id == token:
            said = details.failure
            texts = said and Failure(redact(said.code), redact(said.message), redact(said.advice))
            return replace(details, failure=texts)
    return None


def _build_refusal(problems: tuple[Problem, ...], data: Mapping[str, Any] | None) -> ReelportError:
    codes = {problem.code.lower() for problem in problems}
    if codes & _ACCESS or codes == {Code.SCOPE_MISSING}:
        return AccessError(_join_sentences(problems), data=data)
    if codes <= _FULL:
        return QueueFull(_join_sentences(problems), data=data)
    return ServiceError(_join_sentences(problems), data=data) if codes <= _FAULT else QueryRefused(problems, data=data)


def _describe_reply(reply: Reply, redact: Redact) -> tuple[set[str], str, object]:
    try:
        answer = parse_object(reply, redact)
    except Unreachable:
        return set(), "", None
    problems = tuple(_read_problems(answer, redact))
    return {problem.code.lower() for problem in problems}, _join_sentences(problems), answer.get("data")


def _read_problems(answer: Mapping[str, Any], redact: Redact) -> Iterator[Problem]:
    """Yield the entries of `errors`, in any form: an answer with any entry is a refusal."""
    errors = answer.get("errors")
    entries = errors if isinstance(errors, list) else [errors] if errors else []
    for error in entries[:_MOST_PROBLEMS]:
        problem = _read_problem(error if isinstance(error, dict) else {"message": error}, redact)
        yield problem
    if more := len(entries[_MOST_PROBLEMS:]):
        yield replace(problem, sentence=f"And {format_count(more, 'further problem')}.", nearest=None, path=())


def _join_sentences(problems: tuple[Problem, ...]) -> str:
    return "\n".join(problem.sentence for problem in problems)


def _read_problem(error: dict[str, Any], redact: Redact) -> Problem:
    extensions = error.get("extensions")
    extensions = extensions if isinstance(extensions, dict) else {}
    code = extensions.get("code") or error.get("type") or error.get("code")
    # An engine that names the broken rule of the GraphQL specification gives no code of its own.
    code = code or (Code.INVALID_DOCUMENT if extensions.get("rule") else "refused")
    nearest = extensions.get("nearest")
    steps = extensions.get("inputPath") or error.get("path")
    steps = steps[:_LONGEST_PATH] if isinstance(steps, list) else []
    path = tuple(step if isinstance(step, int) else redact(str(step)) for step in steps)
    sentence = error.get("message") or "The service refused and gave no reason."
    return Problem(
        redact(str(code)), path, redact(str(sentence)), redact(nearest) if isinstance(nearest, str) else None
    )


def _find_first_message(reply: Reply, redact: Redact) -> str:
    try:
        answer = parse_object(reply, redact)
    except Unreachable:
        return f", with {_describe_body(reply, redact)}."
    for problem in _read_problems(answer, redact):
        return f": {problem.sentence}"
    said = describe_failure(answer, redact)
    return f": {said}." if said else "."


def describe_failure(answer: Mapping[str, Any], redact: Redact) -> str:
    """Return a token endpoint's or gateway's failure text, without full stop; may be empty."""
    error = answer.get("error")
    parts = error if isinstance(error, dict) else answer
    words = [parts.get(word) for word in ("error", "code", "error_description", "message")]
    return redact(": ".join(str(word) for word in words if word and isinstance(word, str | int))).rstrip(".")


def _read_retry_after(reply: Reply, now: datetime) -> float | None:
    text = reply.headers.get("retry-after", "").strip()[:_LONGEST_DATE]
    with suppress(ValueError):
        seconds = float(text)
        return min(seconds, _LONGEST_PAUSE) if 0 <= seconds < float("inf") else None
    left = count_seconds_until(text, now) if text else None
    return None if left is None else max(0.0, left)


def count_seconds_until(date: str, now: datetime) -> float | None:
    """Count the seconds until a header's date, below 0 for a past one; None for no date."""
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - it loads sockets, and dates are rare

    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - now).total_seconds()


def _describe_body(reply: Reply, redact: Redact) -> str:
    if reply.headers.get("location"):
        return "a redirect elsewhere"
    if reply.body.lstrip()[:1] == b"<":
        return "an HTML page"
    kind = redact(reply.headers.get("content-type", ""))
    return f"a body of {kind} that can't be read" if reply.body and kind else "nothing readable"
