"""Retry requests after transient failures: exponential backoff with jitter, up to a limit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from reelport.client.events import Progress, Retrying
from reelport.client.flows.answers import TransientFailure, find_failure
from reelport.client.session import Session
from reelport.client.steps import Flow, Lost, Reply, Request, Wait, send
from reelport.errors import QueueFull, ReelportError, Unreachable

_FIRST, _LONGEST, _GROWTH = 0.2, 60.0, 1.1
# With pauses that grow by a tenth, a wait ends at most a tenth late; a wait of hours still polls once a minute.

_OBEYED = 300.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to retry (`seconds`; None: as the settings say), and which error to raise in the end.

    Pauses that the service asks for are honoured up to `longest` seconds in all. With `once`, a request is sent again
    only while the service surely did nothing about it; otherwise `once` makes the error. With `asking`, a refusal for
    too many requests means too many reports and raises QueueFull; with `fail_when_full` it does so at once.
    """

    seconds: float | None = None
    longest: float = _OBEYED
    at_end: Callable[[ReelportError], ReelportError] = lambda error: error
    once: Callable[[ReelportError], ReelportError] | None = None
    asking: bool = False
    fail_when_full: bool = False

    def until(self, session: Session, *, asked: bool = False) -> float:
        """Return the clock's second at which retries begun now end; `asked` is for pauses that the service asks for."""
        seconds = session.settings.patience if self.seconds is None else self.seconds
        return session.clock.seconds() + (max(seconds, self.longest) if asked else seconds)

    def left(self, session: Session, until: float) -> RetryPolicy:
        """Return the patience that is left until a second of the clock, for requests that may always be repeated."""
        return replace(
            self, seconds=max(0.0, until - session.clock.seconds()), once=None, asking=False, fail_when_full=False
        )


DEFAULT_POLICY = RetryPolicy()


def pauses(chance: Callable[[], float]) -> Iterator[float]:
    """Yield the backoff pauses between tries: 0.2 s growing to 60 s, each with a jitter of ±20 %."""
    pause = _FIRST
    while True:
        yield pause * (0.8 + 0.4 * chance())
        pause = min(pause * _GROWTH, _LONGEST)


def send_with_retries(
    session: Session,
    request: Request,
    tell: Progress,
    policy: RetryPolicy = DEFAULT_POLICY,
    fault: Callable[[Reply], TransientFailure | None] = lambda _: None,
) -> Flow[Reply]:
    """Send a request and return the reply; retry transient failures as `patience` allows.

    `fault` finds the failure in a reply whose HTTP status is good.
    """
    began, until, obeyed = session.clock.seconds(), policy.until(session), policy.until(session, asked=True)
    for pause in pauses(session.chance):
        answer = yield from send(request)
        if isinstance(answer, Reply):
            session.note_host(answer)
        failure = find_failure(answer, session.settings.url, session.clock.now(), session.redact)
        if not isinstance(answer, Lost) and (failure := failure or fault(answer)) is None:
            return answer
        assert failure is not None  # noqa: S101 - a lost answer is always trouble
        if failure.acted and policy.once is not None:
            raise policy.once(failure.error) from failure.error
        if failure.too_many and policy.fail_when_full:
            raise _build_final_error(failure, policy) from failure.error
        seconds = max(failure.retry_after or 0.0, pause)
        if session.clock.seconds() + seconds > (until if failure.retry_after is None else obeyed):
            raise _build_final_error(_add_advice(failure, session.clock.seconds() - began), policy) from failure.error
        tell(Retrying(str(failure.error), seconds))
        yield Wait(seconds)
    raise AssertionError("pauses never end")


def _add_advice(failure: TransientFailure, waited: float) -> TransientFailure:
    """Add advice to the failure where the request never reached a service."""
    if failure.acted or not isinstance(failure.error, Unreachable):
        return failure
    tried = f" Tried for {waited:.0f} s." if waited >= 1 else ""
    advice = "Check the address (REELPORT_URL), the network, and that the service runs."
    return replace(failure, error=Unreachable(f"{failure.error}{tried} {advice}"))


def _build_final_error(failure: TransientFailure, policy: RetryPolicy) -> ReelportError:
    if not (policy.asking and failure.too_many):
        return policy.at_end(failure.error)
    full = QueueFull(f"{failure.error} Too many reports may be unfinished: ask again later.")
    full.retry_after = failure.retry_after
    return full
