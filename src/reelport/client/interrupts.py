"""Shield a short piece of work from Ctrl-C: the work ends first, and its result isn't lost."""

from __future__ import annotations

import threading
from collections.abc import Callable

_LOOK = 1.0
"""Seconds between two checks for a Ctrl-C, where waiting hides it."""


class _ShieldedTask:
    """A task in a thread of its own, where no Ctrl-C arrives."""

    def __init__(self, task: Callable[[], object]) -> None:
        self._task = task
        self._claim = threading.Lock()
        self._done = threading.Event()
        self._result: object = None
        self._error: BaseException | None = None
        self.thread = threading.Thread(target=self._do, name="reelport-work", daemon=True)

    def claim(self) -> bool:
        """Claim the task; True for the first claim, without which the thread doesn't begin."""
        return self._claim.acquire(blocking=False)

    def wait(self) -> None:
        """Wait for the task's end."""
        while not self._done.wait(_LOOK):
            pass

    def result(self) -> object:
        """Return the ended task's result, or raise its error."""
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


def run_shielded(task: Callable[[], object], stopped: Callable[[BaseException], None]) -> object:
    """Run a task to its end, a Ctrl-C notwithstanding; a second one breaks it off.

    The Ctrl-C is passed to `stopped`, which raises it later. Otherwise a row just written to the ledger would have
    no owner. Outside the main thread, where no Ctrl-C arrives, the task runs directly.
    """
    if threading.current_thread() is not threading.main_thread():
        return task()
    doing = _ShieldedTask(task)
    try:
        doing.thread.start()
        doing.wait()
    except BaseException as stop:  # a Ctrl-C above all
        if doing.claim():
            raise
        stopped(stop)
        doing.wait()
    return doing.result()
