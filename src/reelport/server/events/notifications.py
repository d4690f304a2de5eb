"""Events to every machine, by PostgreSQL's NOTIFY.

NOTIFY is part of a transaction, and delivered when it commits. LISTEN needs a connection of its own. A proxy that gives
each transaction another connection (pgbouncer in transaction mode) delivers no event: a process that waits
then finds what happened by reading the state.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
import structlog

from reelport.server.database_address import PARAMETERS, parse_address
from reelport.server.events.bus import Event, Kind, Subscription

if TYPE_CHECKING:
    from sqlalchemy import Connection

_RETRY_SECONDS = 0.5
_PREFIX = "reelport_"

_log = structlog.get_logger()


class NotifyBus:
    """Sends events by NOTIFY, with a channel for each kind and the subject as payload."""

    def __init__(self, address: str) -> None:
        self._address = address

    def publish(self, connection: Connection, event: Event) -> None:
        """Notify within the transaction."""
        connection.exec_driver_sql("SELECT pg_notify(%s, %s)", (f"{_PREFIX}{event.kind}", event.subject))

    @contextmanager
    def subscribe(self, *kinds: Kind) -> Iterator[Subscription]:
        """Receive events of these kinds by a thread, which connects again when it must."""
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        subscription = Subscription(reader, writer)
        ended, end = os.pipe()
        thread = threading.Thread(target=self._listen, args=(kinds, subscription, ended), name="listener", daemon=True)
        thread.start()
        try:
            yield subscription
        finally:
            os.close(end)  # which the thread sees at the other end
            thread.join()
            for descriptor in (ended, reader, writer):
                os.close(descriptor)

    def _connect(self) -> psycopg.Connection:
        url = parse_address(self._address)
        url = url.set(drivername="postgresql", query={**PARAMETERS, **url.query})
        return psycopg.connect(url.render_as_string(hide_password=False), autocommit=True)

    def _listen(self, kinds: tuple[Kind, ...], subscription: Subscription, ended: int) -> None:
        while not _wait(0, ended):
            try:
                with self._connect() as connection:
                    for kind in kinds:
                        connection.execute(f"LISTEN {_PREFIX}{kind}")
                    # An event that was published before is missed: reading the state finds its change.
                    subscription.wake()
                    while True:
                        for event in filter(None, map(_read_notification, connection.notifies(timeout=0))):
                            subscription.put(event.encode())
                        if ended in _wait(None, ended, connection.fileno()):
                            return
            except (psycopg.Error, UnicodeError) as error:  # a database without an encoding delivers any bytes
                _log.warning("can't listen for events, trying again", reason=str(error).strip())
                _wait(_RETRY_SECONDS, ended)


def _read_notification(notification: psycopg.Notify) -> Event | None:
    """Read an event of one line; None for what is none: any role of the database may notify."""
    if not notification.payload.isprintable():
        return None
    event = Event.decode(f"{notification.channel.removeprefix(_PREFIX)} {notification.payload}".encode())
    return event if event and len(event.encode()) <= select.PIPE_BUF else None


def _wait(seconds: float | None, *descriptors: int) -> set[int]:
    """Wait until one of the descriptors is readable or closed at its other end; returns which."""
    waiting = select.poll()
    for descriptor in descriptors:
        waiting.register(descriptor, select.POLLIN)
    return {descriptor for descriptor, _ in waiting.poll(None if seconds is None else seconds * 1000)}
