"""What Ctrl-C and SIGTERM do to a command, from its first moment to its last.

A command is imported and its words are read before anybody could say what a stop means: one that comes then is
held until the command can answer it. This module imports next to nothing, so that it is there first.
"""

from __future__ import annotations

import atexit
import os
import signal
from collections.abc import Callable
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_BASE, _STDERR = 128, 2
_held: list[int] = []


def hold() -> None:
    """From now on a stop is noted for `heed`; a second one ends the process at once, with a line."""
    _answer(_note)
    atexit.register(_answer, signal.SIG_IGN)  # The first that is registered is the last thing that is done.


def install_handlers() -> None:
    """From now on a stop is a KeyboardInterrupt that knows its signal. Raises the one that is held."""
    _answer(_interrupt)
    if _held:
        raise KeyboardInterrupt(_held.pop())


def over(status: int) -> None:
    """From now on all is done and said: a stop leaves with this status, and without another word."""
    _answer(lambda *_: os._exit(status))


def status_of(stop: KeyboardInterrupt) -> int:
    """The exit status of who was stopped, as shells have it: 128 and the signal's number."""
    number = stop.args[0] if stop.args else signal.SIGINT
    return _BASE + int(number)


def _answer(handler: Callable[[int, FrameType | None], object] | signal.Handlers) -> None:
    """Have this called for a stop, except where whoever started us has it ignored, as nohup does."""
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _note(number: int, _: FrameType | None) -> None:
    if _held:
        os.write(_STDERR, b"reelport: interrupted\n")
        os._exit(_BASE + number)
    _held.append(number)


def _interrupt(number: int, _: FrameType | None) -> None:
    raise KeyboardInterrupt(number)
