"""Group commit: what several threads of a process write to SQLite at a moment goes to the disk in one transaction.

SQLite has one writer at a time, and a commit waits for the disk. So those who come while one commits wait in a line,
and the next of them writes for all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError

from reelport.errors import StorageError

T = TypeVar("T")
Begin = Callable[[], AbstractContextManager[Connection]]
"""Begins a transaction that writes; StorageError when the state can't be used."""
_BETWEEN_SECONDS = 0.003
"""Time between two transactions of a process, in which others come to read and to write."""
MOST = 50
"""Most pieces of work in one transaction: a bound to what one that fails at its end takes with it."""


@dataclass(eq=False, slots=True)
class _Work:
    """One piece of work of one thread, and what became of it."""

    do: Callable[[Connection], Any]
    done: bool = False
    result: Any = None
    error: Exception | None = None

    def attempt(self, connection: Connection) -> None:
        """Do it within a savepoint, so that its error takes back nothing of the others'."""
        try:
            with connection.begin_nested():
                self.result = self.do(connection)
        except IntegrityError as error:
            self.error = error
        except (DBAPIError, StorageError):  # the state itself: that is everybody's
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the thread whose work this is
            self.error = error

    def outcome(self) -> Any:  # noqa: ANN401 - what the work gives
        """Its result; raises what it raised."""
        if self.error is not None:
            raise self.error
        return self.result


class WriteQueue:
    """The writers of one process to one SQLite file. `turn` is held by whoever has a transaction that writes."""

    def __init__(self) -> None:
        self.writer_lock = threading.Lock()
        self._waiting_lock = threading.Lock()
        self._waiting: list[_Work] = []

    def run(self, begin: Begin, do: Callable[[Connection], T]) -> T:
        """What `do` gives, once it is on the disk; StorageError when the transaction that held it failed."""
        own = _Work(do)
        with self._waiting_lock:
            self._waiting.append(own)
        with self.writer_lock:
            while not own.done:
                self._write_batch(begin)
                time.sleep(_BETWEEN_SECONDS)
        result: T = own.outcome()
        return result

    def _write_batch(self, begin: Begin) -> None:
        """Write for those who came first; each of them is done afterwards, whatever happened."""
        with self._waiting_lock:
            batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
        try:
            _write(begin, batch)
        except Exception as error:  # noqa: BLE001 - told to every thread whose work was lost by it
            _fail(batch, error)
        except BaseException:  # a stop of the process: the other threads are told, and it goes on
            _fail(batch, StorageError("The process is being stopped: nothing was written."))
            raise
        finally:
            for each in batch:
                each.done = True


def _write(begin: Begin, batch: list[_Work]) -> None:
    with begin() as connection:
        match batch:
            case [only]:  # it needs no savepoint: its error takes back the whole transaction
                only.result = only.do(connection)
            case _:
                for each in batch:
                    each.attempt(connection)


def _fail(batch: list[_Work], error: Exception) -> None:
    for each in batch:
        each.error = each.error or error
