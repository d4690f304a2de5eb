"""Retries after transient failures: exponential backoff with jitter, up to a limit."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

from reelport.client.events import Progress, Retrying
from reelport.client.flows.answers import TransientFailure, find_failure
from reelport.client.flows.pauses import pauses
from reelport.client.session import Session
from reelport.client.steps import Flow, Lost, Reply, Request, Wait, open_body, read
from reelport.errors import QueueFull, ReelportError, Unreachable
from reelport.wording import format_count, format_duration

# Bytes that the pace's time must bring; the same as what makes a try of a download worth its while.
LEAST_BYTES = 1 << 16

_LARGEST_ANSWER = 16 << 20
_TOO_LARGE = Lost("what it sends is too large to be an answer of a Reporting API")

_OBEYED = 300.0


def do_nothing() -> Flow[None]:
    """Take no step."""
    yield from ()


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to retry (`seconds`; None: as set), and which error to raise in the end.

    Pauses that the service asks for are honoured up to `longest` seconds in all. With `once`, a request is sent again
    only while the service surely did nothing about it; otherwise `once` makes the error. With `asking`, a refusal for
    too many requests means too many reports and raises QueueFull at once. `meanwhile` runs before each pause, and
    while another flow renews the token.
    """

    seconds: float | None = None
    longest: float = _OBEYED
    at_end: Callable[[ReelportError], ReelportError] = lambda error: error
    once: Callable[[ReelportError], ReelportError] | None = None
    asking: bool = False
    meanwhile: Callable[[], Flow[None]] = do_nothing

    def until(self, session: Session, *, asked: bool = False) -> float:
        """Return when retries begun now end; `asked`: for pauses that the service asks for."""
        seconds = session.settings.patience if self.seconds is None else self.seconds
        return session.clock.seconds() + (max(seconds, self.longest) if asked else seconds)

    def left(self, session: Session, until: float) -> RetryPolicy:
        """Return the patience left until then, for requests that may always be repeated."""
        return replace(self, seconds=max(0.0, until - session.clock.seconds()), once=None, asking=False)


DEFAULT_POLICY = RetryPolicy()


def send(
    session: Session,
    request: Request,
    tell: Progress,
    policy: RetryPolicy = DEFAULT_POLICY,
    find_fault: Callable[[Reply], TransientFailure | None] = lambda _: None,
) -> Flow[Reply]:
    """Send a request until its answer is no transient failure; raise what ends the tries."""
    began, rhythm = session.clock.seconds(), pauses(session.chance)
    until, obeyed = policy.until(session), policy.until(session, asked=True)
    while True:
        answer = yield from _exchange(session, request)
        failure = find_failure(answer, session.settings.url, session.clock.now(), session.redact)
        if isinstance(answer, Reply):
            session.note_host(answer)
            failure = failure or find_fault(answer)
            if failure is None:
                return answer
        assert failure is not None  # noqa: S101 - a lost answer is always trouble
        if failure.acted and policy.once is not None:
            raise policy.once(failure.error) from failure.error
        if failure.too_many and policy.asking:
            full = QueueFull(f"{failure.error} Too many reports may be unfinished: ask again later.")
            full.retry_after = failure.retry_after
            raise full from failure.error
        seconds, now = max(failure.retry_after or 0.0, next(rhythm)), session.clock.seconds()
        if now + seconds > (until if failure.retry_after is None else obeyed):
            raise policy.at_end(_add_advice(failure, now - began)) from failure.error
        tell(Retrying(str(failure.error), seconds))
        yield from policy.meanwhile()
        yield Wait(seconds)


def _exchange(session: Session, request: Request) -> Flow[Reply | Lost]:
    """Send a request, and read the whole response."""
    head = yield from open_body(request)
    if isinstance(head, Lost):
        return head
    body, data = SteadyBody.of(session, least=math.inf), bytearray()
    while chunk := (yield from body.read()):
        if isinstance(chunk, Lost):
            return chunk
        data += chunk
        if len(data) > _LARGEST_ANSWER:
            return _TOO_LARGE
    return replace(head, body=bytes(data))


@dataclass(slots=True)
class SteadyBody:
    """The open body, which may take `window` seconds of waiting for `least` bytes.

    Of one read at most `silence` seconds count, after which the transport gives up: beyond that the process, or its
    event loop, stood still.
    """

    clock: Callable[[], float]
    window: float
    silence: float
    least: float = LEAST_BYTES
    _waited: float = 0.0
    _bytes: int = 0

    @classmethod
    def of(cls, session: Session, *, least: float = LEAST_BYTES) -> Self:
        """Read a body at the pace of a session's settings."""
        return cls(session.clock.seconds, session.settings.pace, session.settings.timeout, least)

    def read(self) -> Flow[bytes | Lost]:
        """Read the next bytes; none at the end. Lost for more after what came too late."""
        before = self.clock()
        data = yield from read()
        if isinstance(data, Lost) or not data:
            return data
        is_late = self._waited >= self.window
        self._waited += min(self.clock() - before, self.silence)
        self._bytes += len(data)
        if self._bytes >= self.least:
            self._waited, self._bytes = 0.0, 0
        elif is_late:
            return Lost(f"it brought {format_count(self._bytes, 'byte')} in {format_duration(self._waited)}")
        return data


def _add_advice(failure: TransientFailure, waited: float) -> ReelportError:
    if failure.acted or not isinstance(failure.error, Unreachable):
        return failure.error
    tried = f" Tried for {waited:.0f} s." if waited >= 1 else ""
    advice = "Check the address (REELPORT_URL), the network, and that the service runs."
    return Unreachable(f"{failure.error}{tried} {advice}")
