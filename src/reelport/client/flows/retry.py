"""Trying again what may pass: longer and longer pauses, some chance in them, and an end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from reelport.client.events import Progress, Retrying
from reelport.client.flows.answers import Trouble, trouble_of
from reelport.client.session import Session
from reelport.client.steps import Flow, Lost, Reply, Request, Wait, send
from reelport.errors import QueueFull, ReelportError, Unreachable

_FIRST, _LONGEST, _GROWTH = 0.2, 60.0, 1.1
# A pause that grows by a tenth makes a wait at most a tenth longer, and hours take one look a minute all the same.

_OBEYED = 300.0


@dataclass(frozen=True, slots=True)
class Patience:
    """For how many seconds trouble is waited out (None: as the settings say), and what error it is when it lasts.

    A pause that the service asks for is honoured while all of it takes no more than `longest` seconds.
    With `once` a request is sent again only while the service surely did nothing about it; else `once` says what
    error that is. With `asking`, too many requests are too many reports: a QueueFull, with `yielding` at once.
    """

    seconds: float | None = None
    longest: float = _OBEYED
    at_end: Callable[[ReelportError], ReelportError] = lambda error: error
    once: Callable[[ReelportError], ReelportError] | None = None
    asking: bool = False
    yielding: bool = False

    def until(self, session: Session, *, asked: bool = False) -> float:
        """The second of the clock that waiting may last to, begun now: `asked` is for a pause that was asked for."""
        seconds = session.settings.patience if self.seconds is None else self.seconds
        return session.clock.seconds() + (max(seconds, self.longest) if asked else seconds)

    def left(self, session: Session, until: float) -> Patience:
        """The same patience, as far as it isn't used up; for requests that may always be repeated."""
        return replace(self, seconds=max(0.0, until - session.clock.seconds()), once=None, asking=False, yielding=False)


PATIENT = Patience()


def pauses(chance: Callable[[], float]) -> Iterator[float]:
    """Seconds from one try to the next: 0.2 growing to 60, each 20 % more or less by chance."""
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
    """The answer to a request. While that is trouble, the request is sent again as patience allows.

    `fault` sees the trouble that an answer with a good status is.
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
    """The trouble with what to do about it, where nobody was there to take the request."""
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
