"""Trying again what may pass: longer and longer pauses, some chance in them, and an end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from reelport.client.answers import Trouble, trouble_of
from reelport.client.events import Progress, Retrying
from reelport.client.session import Session
from reelport.client.steps import Flow, Lost, Reply, Request, Wait, send
from reelport.errors import ReelportError

_FIRST, _LONGEST, _GROWTH = 0.2, 60.0, 1.25
# A pause that grows by a quarter makes a wait at most a quarter longer, and hours take one look a minute all the same.


@dataclass(frozen=True, slots=True)
class Patience:
    """For how many seconds trouble is waited out, and what error it is when it lasts longer.

    With `once` a request is sent again only while the service surely did nothing about it; else
    `once` says what error that is.
    """

    seconds: float = 20.0
    at_end: Callable[[ReelportError], ReelportError] = lambda error: error
    once: Callable[[ReelportError], ReelportError] | None = None


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
    until = session.clock.seconds() + patience.seconds
    for pause in pauses(session.chance):
        answer = yield from send(request)
        trouble = trouble_of(answer, session.settings.url, session.clock.now(), session.redacted)
        if not isinstance(answer, Lost) and (trouble := trouble or fault(answer)) is None:
            return answer
        assert trouble is not None  # noqa: S101 - a lost answer is always trouble
        if trouble.acted and patience.once is not None:
            raise patience.once(trouble.error) from trouble.error
        seconds = max(trouble.retry_after or 0.0, pause)
        if session.clock.seconds() + seconds > until:
            raise patience.at_end(trouble.error) from trouble.error
        tell(Retrying(str(trouble.error), seconds))
        yield Wait(seconds)
    raise AssertionError("pauses never end")
