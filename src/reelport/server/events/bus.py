"""The event bus: events are published with their change, and received by whoever waits.

An event is a hint. It may be lost, and it may come for a change that was rolled back. So whoever hears it reads the
state, and whoever waits reads the state from time to time without it too: a lost event costs only time.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from reelport.server.events.event import Event, Kind
from reelport.server.events.subscription import Subscription

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

OPTION = "event_bus"
"""The execution option by which an engine of the state knows its bus."""

UNCOMMITTED = "uncommitted_events"
"""The execution option of a connection with the events that are to be announced when its transaction has committed."""


class EventBus(Protocol):
    """A way by which events go between the processes of an installation."""

    def publish(self, connection: Connection, event: Event) -> None:
        """Publish an event in a transaction that writes: its commit delivers the event."""

    def announce(self, event: Event) -> None:
        """Deliver an event of no transaction at once; one that can't be delivered is lost."""

    def subscribe(self, *kinds: Kind) -> AbstractContextManager[Subscription]:
        """Receive events of these kinds within the block. StorageError when that can't begin."""


def publish(connection: Connection, event: Event) -> None:
    """Publish an event in a transaction of the state: its commit delivers the event."""
    bus: EventBus = connection.get_execution_options()[OPTION]
    bus.publish(connection, event)


def subscribe(db: Engine, *kinds: Kind) -> AbstractContextManager[Subscription]:
    """Receive events of these kinds within the block, from every process with the same state."""
    bus: EventBus = db.get_execution_options()[OPTION]
    return bus.subscribe(*kinds)
