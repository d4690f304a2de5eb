"""Retry requests after transient failures: exponential backoff with jitter, up to a limit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from reelport.client.events import Progress, Retrying
from reelport.client.flows.answers import Trouble, trouble_of
from reelport.client.session import Session
from reelport.client.steps import Flow, Lost, Reply, Request, Wait, send
from reelport.errors import QueueFull, ReelportError, Unreachable

_FIRST, _LONGEST, _GROWTH = 0.2, 60.0, 1.1
# With pauses that grow by a tenth, a wait ends at most a tenth late; a wait of hours still polls once a minute.

_OBEYED = 300.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to retry (`seconds`; None: as the settings say), and which error to raise in the end.

    Pauses that the service asks for are honoured up to `longest` seconds in all. With `once`, a request is sent again
    only while the service surely did nothing about it; otherwise `once` makes the error. With `asking`, a refusal for
    too many requests means too many reports and raises QueueFull; with `yielding` it does so at once.
    """

    seconds: float | None = None
    longest: float = _OBEYED
    at_end: Callable[[ReelportError], ReelportError] = lambda error: error
    once: Callable[[ReelportError], ReelportError] | None = None
    asking: bool = False
    yielding: bool = False

    def until(self, session: Session, *, asked: bool = False) -> float:
        """Return the clock's second at which retries begun now end; `asked` is for pauses that the service asks for."""
        seconds = session.settings.patience if self.seconds is None else self.seconds
        return session.clock.seconds() + (max(seconds, self.longest) if asked else seconds)

    def left(self, session: Session, until: float) -> Patience:
        """Return the patience that is left until a second of the clock, for requests that may always be repeated."""
        return replace(self, seconds=max(0.0, until - session.clock.seconds()), once=None, asking=False, yielding=False)


PATIENT = Patience()


def pauses(chance: Callable[[], float]) -> Iterator[float]:
    """Yield the backoff pauses between tries: 0.2 s growing to 60 s, each with a jitter of ±20 %."""
    pause = _FIRST
    while True:
        yield pause * (0.8 + 0.4 * chance())
        pause = min(pause * _GROWTH, _LONGEST)


def persist(
    session: Session,
    request: Request,
    tell: Progress,
    patience: Patience = PATIENT,
    fault: Callable[[Reply], Trouble | None] = lambda _: None,
) -> Flow[Reply]:
    """Send a request and return the reply; retry transient failures as `patience` allows.

    `fault` finds the failure in a reply whose HTTP status is good.
    """
    began, until, obeyed = session.clock.seconds(), patience.until(session), patience.until(session, asked=True)
    for pause in pauses(session.chance):
        answer = yield from send(request)
        if isinstance(answer, Reply):
            session.heard(answer)
        trouble = trouble_of(answer, session.settings.url, session.clock.now(), session.redacted)
        if not isinstance(answer, Lost) and (trouble := trouble or fault(answer)) is None:
            return answer
        assert trouble is not None  # noqa: S101 - a lost answer is always trouble
        if trouble.acted and patience.once is not None:
            raise patience.once(trouble.error) from trouble.error
        if trouble.crowded and patience.yielding:
            raise _given_up(trouble, patience) from trouble.error
        seconds = max(trouble.retry_after or 0.0, pause)
        if session.clock.seconds() + seconds > (until if trouble.retry_after is None else obeyed):
            raise _given_up(_advised(trouble, session.clock.seconds() - began), patience) from trouble.error
        tell(Retrying(str(trouble.error), seconds))
        yield Wait(seconds)
    raise AssertionError("pauses never end")


def _advised(trouble: Trouble, waited: float) -> Trouble:
    """Add advice to the failure where the request never reached a service."""
    if trouble.acted or not isinstance(trouble.error, Unreachable):
        return trouble
    tried = f" Tried for {waited:.0f} s." if waited >= 1 else ""
    advice = "Check the address (REELPORT_URL), the network, and that the service runs."
    return replace(trouble, error=Unreachable(f"{trouble.error}{tried} {advice}"))


def _given_up(trouble: Trouble, patience: Patience) -> ReelportError:
    if not (patience.asking and trouble.crowded):
        return patience.at_end(trouble.error)
    full = QueueFull(f"{trouble.error} Too many reports may be unfinished: ask again later.")
    full.retry_after = trouble.retry_after
    return full
