"""Group commit: writes of several threads share one SQLite transaction.

They so share one sync of the disk. SQLite has one writer at a time, and a commit waits for the disk. Threads that come
during a commit queue up, and the next one of them writes for all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError

from reelport.errors import StorageError

T = TypeVar("T")
Begin = Callable[[], AbstractContextManager[Connection]]
"""Begins a transaction that writes; raises StorageError when the state can't be used."""
Sync = Callable[[], object]
"""Returns once what was committed is on the disk; raises StorageError when it can't be."""
MOST = 50
"""Most pieces of work in one transaction: as many are lost when its commit fails."""


@dataclass(eq=False, slots=True)
class _Work:
    """One thread's work and result; `woken` when done, or when it is to write the next batch."""

    begin: Begin
    do: Callable[[Connection], Any]
    sync: Sync | None
    woken: threading.Event = field(default_factory=threading.Event)
    done: bool = False
    result: Any = None
    error: Exception | None = None

    def attempt(self, connection: Connection) -> None:
        """Do the work within a savepoint, so that its error rolls back nothing of the others'."""
        try:
            with connection.begin_nested():
                self.result = self.do(connection)
        except IntegrityError as error:
            self.error = error
        except (DBAPIError, StorageError):  # the state itself failed: that fails the whole batch
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the thread whose work this is
            self.error = error


class WriteQueue:
    """Queues the writes of one process to one SQLite file.

    The first thread that waits writes for all that do, and then wakes each of them and the first of those that came
    meanwhile. None of them has to get a lock to learn that its work is done.
    """

    def __init__(self, pause_seconds: float) -> None:
        """`pause_seconds` is left between two transactions, for other processes."""
        self._pause_seconds = pause_seconds
        self._writer_lock = threading.Lock()
        self._waiting_lock = threading.Lock()
        self._waiting: list[_Work] = []
        self._is_led = False
        self._ended_at = -pause_seconds

    def __len__(self) -> int:
        """The number of pieces of work that no batch holds yet."""
        return len(self._waiting)

    def run(self, begin: Begin, do: Callable[[Connection], T], sync: Sync | None = None) -> T:
        """Return the result of `do` once it is on the disk; StorageError when that fails.

        Where a commit of `begin` doesn't see to that, `sync` does, once for all that are committed together.
        """
        own = _Work(begin, do, sync)
        try:
            with self._waiting_lock:
                self._waiting.append(own)
                if not self._is_led:
                    self._is_led = True
                    own.woken.set()
            own.woken.wait()
            if not own.done:
                self._write_batch()
        except BaseException:  # a thread that is stopped hands its turn on, or all that wait would wait for ever
            self._give_up(own)
            raise
        if own.error is not None:
            raise own.error
        result: T = own.result
        return result

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Keep the other threads' writes out of the block, which is one transaction."""
        with self._writer_lock:
            if (left := self._ended_at + self._pause_seconds - time.monotonic()) > 0:
                time.sleep(left)
            try:
                yield
            finally:
                self._ended_at = time.monotonic()

    def _write_batch(self) -> None:
        batch: list[_Work] = []
        with _answering(batch):
            with self.turn():
                with self._waiting_lock:
                    batch += self._waiting[:MOST]
                    del self._waiting[:MOST]
                # Work that nobody may see before it is on the disk decides for the whole batch.
                strictest = next((each for each in batch if each.sync is None), batch[0])
                try:
                    _write(strictest.begin, batch)
                finally:
                    self._wake_next()
            # Also beside strict work: its commit syncs nothing when nobody wrote, and an early one may go by what
            # another batch wrote just before.
            if (sync := next((each.sync for each in batch if each.sync is not None), None)) is not None:
                sync()

    def _wake_next(self) -> None:
        """Have the thread that waits longest write the next batch."""
        with self._waiting_lock:
            self._is_led = bool(self._waiting)
            if self._waiting:
                self._waiting[0].woken.set()

    def _give_up(self, own: _Work) -> None:
        """Forget the work of a thread that is interrupted; another one writes in its place."""
        with self._waiting_lock:
            is_waiting = own in self._waiting
            if is_waiting:
                self._waiting.remove(own)
        if is_waiting and own.woken.is_set():
            self._wake_next()


def _write(begin: Begin, batch: list[_Work]) -> None:
    with begin() as connection:
        match batch:
            case [only]:  # needs no savepoint: its error rolls back the whole transaction
                only.result = only.do(connection)
            case _:
                for each in batch:
                    each.attempt(connection)


@contextmanager
def _answering(batch: list[_Work]) -> Iterator[None]:
    """Wake the threads of a batch after the block; an error of it is raised in each of them."""
    try:
        yield
    except Exception as error:
        if not batch:
            raise
        _fail(batch, error)
    except BaseException:  # the process is being stopped: fail the other threads' work, and raise it again
        _fail(batch, StorageError("The process is being stopped: nothing is known to be written."))
        raise
    finally:
        for each in batch:
            each.done = True
            each.woken.set()


def _fail(batch: list[_Work], error: Exception) -> None:
    for each in batch:
        each.error = each.error or error
