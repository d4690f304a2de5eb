"""Connections to PostgreSQL that give up a server which has stopped answering.

A server that is frozen, or whose disk hangs, keeps its connections: its system acknowledges what is sent, so no timeout
of TCP ends, and the server's own limits stand still with it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

import psycopg
from psycopg.abc import Params, PQGen, Query

from reelport.wording import format_duration

T = TypeVar("T")

_TIMES = 3
"""How many times `tcp_user_timeout` an answer may take: more than locks of a frozen process are held."""


class StepwiseCursor(psycopg.Cursor[Any]):
    """A cursor that sends a statement after the answer to the last: a frozen one looks idle."""

    def executemany(self, query: Query, params_seq: Iterable[Params], *, returning: bool = False) -> None:
        """Run a statement once for each; `rowcount` is that of the last."""
        # psycopg's own sends them through a pipeline, whose last message stops the clock of an idle transaction.
        if returning:
            raise psycopg.NotSupportedError("a StepwiseCursor returns no rows of many statements")
        for params in params_seq:
            self.execute(cast("str", query), params)


class PatientConnection(psycopg.Connection):
    """A connection that is closed once an answer takes longer than its patience."""

    patience: float | None = None
    """Seconds; None for as long as it takes."""

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """Wait for an answer. OperationalError when the patience is over."""
        if timeout is not None or self.patience is None:
            return super().wait(gen, interval, timeout)
        until = time.monotonic() + self.patience
        try:
            return super().wait(gen, interval, self.patience)
        except psycopg.OperationalError as error:
            if time.monotonic() < until:
                raise
            self.pgconn.finish()  # what it answers later belongs to nobody
            sentence = f"the server gave no answer within {format_duration(self.patience)}"
            raise psycopg.OperationalError(sentence) from error


def connect_patiently(
    _dialect: object, _record: object, words: Sequence[Any], parameters: Mapping[str, Any]
) -> PatientConnection:
    """Connect for a pool; an answer may take three times the address's `tcp_user_timeout`."""
    connection = PatientConnection.connect(*words, **parameters)
    connection.cursor_factory = StepwiseCursor
    connection.patience = _TIMES * int(parameters.get("tcp_user_timeout", 0)) / 1000 or None
    return connection
