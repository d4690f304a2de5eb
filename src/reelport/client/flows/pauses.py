"""The pauses between tries, and between looks at a report."""

from __future__ import annotations

from collections.abc import Callable, Iterator

_FIRST, _LONGEST, _GROWTH = 0.2, 60.0, 1.1
# With pauses that grow by a tenth, a wait ends at most a tenth late; a wait of hours still polls once a minute.


def pauses(chance: Callable[[], float]) -> Iterator[float]:
    """Yield the backoff between tries: 0.2 s growing to 60 s, each with a jitter of ±20 %."""
    pause = _FIRST
    while True:
        yield pause * (0.8 + 0.4 * chance())
        pause = min(pause * _GROWTH, _LONGEST)
