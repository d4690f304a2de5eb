"""Work that a Ctrl-C does not tear in two: it is done first, and its flow hears what came of it."""

from __future__ import annotations

import threading
from collections.abc import Callable

_LOOK = 1.0
"""Seconds between two looks for a Ctrl-C, where waiting hides it."""


class _Doing:
    """A task in a thread of its own, which no Ctrl-C reaches."""

    def __init__(self, task: Callable[[], object]) -> None:
        self._task = task
        self._claim = threading.Lock()
        self._done = threading.Event()
        self._result: object = None
        self._error: BaseException | None = None
        self.thread = threading.Thread(target=self._do, name="reelport-work", daemon=True)

    def claim(self) -> bool:
        """Whether it has not begun: who claims it first begins it, or has it never begin."""
        return self._claim.acquire(blocking=False)

    def wait(self) -> None:
        """Wait for its end."""
        while not self._done.wait(_LOOK):
            pass

    def result(self) -> object:
        """What came of it, once it has ended."""
        if self._error is not None:
            raise self._error
        return self._result

    def _do(self) -> None:
        if not self.claim():
            return
        try:
            self._result = self._task()
        except BaseException as error:  # noqa: BLE001 - raised where the result is taken
            self._error = error
        finally:
            self._done.set()


def shielded(task: Callable[[], object], stopped: Callable[[BaseException], None]) -> object:
    """The result of a task, also where a Ctrl-C comes meanwhile: that is told, and can wait. A second one can't.

    A row that was just written down would else be nobody's. Only the main thread is interrupted.
    """
    if threading.current_thread() is not threading.main_thread():
        return task()
    doing = _Doing(task)
    try:
        doing.thread.start()
        doing.wait()
    except BaseException as stop:  # a Ctrl-C above all
        if doing.claim():
            raise
        stopped(stop)
        doing.wait()
    return doing.result()
