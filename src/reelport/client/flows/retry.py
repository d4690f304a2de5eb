"""Retries after transient failures: exponential backoff with jitter, up to a limit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from reelport.client.events import Progress, Retrying
from reelport.client.flows.answers import TransientFailure, find_failure
from reelport.client.session import Session
from reelport.client.steps import Lost, Reply
from reelport.errors import QueueFull, ReelportError, Unreachable

_FIRST, _LONGEST, _GROWTH = 0.2, 60.0, 1.1
# With pauses that grow by a tenth, a wait ends at most a tenth late; a wait of hours still polls once a minute.

_OBEYED = 300.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to retry (`seconds`; None: as set), and which error to raise in the end.

    Pauses that the service asks for are honoured up to `longest` seconds in all. With `once`, a request is sent again
    only while the service surely did nothing about it; otherwise `once` makes the error. With `asking`, a refusal for
    too many requests means too many reports and raises QueueFull at once.
    """

    seconds: float | None = None
    longest: float = _OBEYED
    at_end: Callable[[ReelportError], ReelportError] = lambda error: error
    once: Callable[[ReelportError], ReelportError] | None = None
    asking: bool = False

    def until(self, session: Session, *, asked: bool = False) -> float:
        """Return when retries begun now end; `asked`: for pauses that the service asks for."""
        seconds = session.settings.patience if self.seconds is None else self.seconds
        return session.clock.seconds() + (max(seconds, self.longest) if asked else seconds)

    def left(self, session: Session, until: float) -> RetryPolicy:
        """Return the patience left until then, for requests that may always be repeated."""
        return replace(self, seconds=max(0.0, until - session.clock.seconds()), once=None, asking=False)


DEFAULT_POLICY = RetryPolicy()


def pauses(chance: Callable[[], float]) -> Iterator[float]:
    """Yield the backoff between tries: 0.2 s growing to 60 s, each with a jitter of ±20 %."""
    pause = _FIRST
    while True:
        yield pause * (0.8 + 0.4 * chance())
        pause = min(pause * _GROWTH, _LONGEST)


class Retries:
    """Judges the answers to one request; `reply` is the good one that ended the tries."""

    reply: Reply

    def __init__(
        self,
        session: Session,
        tell: Progress,
        policy: RetryPolicy = DEFAULT_POLICY,
        find_fault: Callable[[Reply], TransientFailure | None] = lambda _: None,
    ) -> None:
        self._session, self._tell, self._policy, self._find_fault = session, tell, policy, find_fault
        self._began = session.clock.seconds()
        self._until, self._obeyed = policy.until(session), policy.until(session, asked=True)
        self._pauses = pauses(session.chance)

    def pause_after(self, answer: object) -> float | None:
        """Return the seconds to wait before the next try, None after a good reply.

        Raises the error that ends the tries.
        """
        assert isinstance(answer, Reply | Lost)  # noqa: S101 - the driver's promise, told to the type checker
        failure = self._find_failure(answer)
        if failure is None:
            assert isinstance(answer, Reply)  # noqa: S101 - a lost answer is always trouble
            self.reply = answer
            return None
        if failure.acted and self._policy.once is not None:
            raise self._policy.once(failure.error) from failure.error
        if failure.too_many and self._policy.asking:
            full = QueueFull(f"{failure.error} Too many reports may be unfinished: ask again later.")
            full.retry_after = failure.retry_after
            raise full from failure.error
        seconds, now = max(failure.retry_after or 0.0, next(self._pauses)), self._session.clock.seconds()
        if now + seconds > (self._until if failure.retry_after is None else self._obeyed):
            raise self._policy.at_end(_add_advice(failure, now - self._began)) from failure.error
        self._tell(Retrying(str(failure.error), seconds))
        return seconds

    def _find_failure(self, answer: Reply | Lost) -> TransientFailure | None:
        session = self._session
        if isinstance(answer, Reply):
            session.note_host(answer)
        failure = find_failure(answer, session.settings.url, session.clock.now(), session.redact)
        return self._find_fault(answer) if failure is None and isinstance(answer, Reply) else failure


def _add_advice(failure: TransientFailure, waited: float) -> ReelportError:
    if failure.acted or not isinstance(failure.error, Unreachable):
        return failure.error
    tried = f" Tried for {waited:.0f} s." if waited >= 1 else ""
    advice = "Check the address (REELPORT_URL), the network, and that the service runs."
    return Unreachable(f"{failure.error}{tried} {advice}")
