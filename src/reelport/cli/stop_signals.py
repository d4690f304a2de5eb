"""Stop signals: what Ctrl-C (SIGINT) and SIGTERM do to a command all along.

While a command is imported and its words are parsed, nothing can handle a stop yet: one that arrives then is held until
the command installs its handlers. This module imports next to nothing, so that it is ready first.
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
_raised: list[int] = []


def hold_stops() -> None:
    """Hold a stop until `install_handlers`. A second one ends the process at once, with a line."""
    _install(_hold_stop)
    atexit.register(_install, signal.SIG_IGN)  # Registered first, so it runs last.


def install_handlers() -> None:
    """Make a stop raise KeyboardInterrupt with its number. Raises a stop that was held."""
    _install(raise_stop)
    if _held:
        raise KeyboardInterrupt(_held.pop())


def raise_lost_stop() -> None:
    """Raise again a stop that was lost: code of C may drop what is raised in its callbacks."""
    if _raised:
        raise KeyboardInterrupt(_raised[-1])


def exit_on_stop(status: int) -> None:
    """Make a stop exit with this status and print nothing: all work and output is done."""
    _install(lambda *_: os._exit(status))
    _forget_unhandled_stop()


def ignore_stops() -> None:
    """Ignore further stops: what was started is being ended and deleted."""
    _install(signal.SIG_IGN)
    _forget_unhandled_stop()


def exit_status_of(stop: KeyboardInterrupt) -> int:
    """Return a stopped process's exit status, as shells have it: 128 plus the signal's number."""
    number = stop.args[0] if stop.args else signal.SIGINT
    return _BASE + int(number)


def _install(handler: Callable[[int, FrameType | None], object] | signal.Handlers) -> None:
    """Install a handler for stops, but not for a signal that the parent ignores, as nohup does."""
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _forget_unhandled_stop() -> None:
    # Python notes a SIGINT that leaves code made from text, such as a dataclass's while a module is imported, as one
    # that nobody handles: with -m it ends by the signal then, whatever the status. The next such code takes it back.
    exec("")  # noqa: S102


def _hold_stop(number: int, _: FrameType | None) -> None:
    if _held:
        os.write(_STDERR, b"reelport: interrupted\n")
        os._exit(_BASE + number)
    _held.append(number)


def raise_stop(number: int, _: FrameType | None) -> None:
    """Handle a stop signal: raise a KeyboardInterrupt with its number."""
    _raised.append(number)
    raise KeyboardInterrupt(number)
