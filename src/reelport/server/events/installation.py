"""Chooses the event bus of an installation."""

from __future__ import annotations

from reelport.server.events.bus import EventBus
from reelport.server.events.pipes import PipeBus
from reelport.server.settings import Settings


def open_bus(settings: Settings) -> EventBus:
    """Choose named pipes on one machine, or PostgreSQL's NOTIFY to every machine."""
    if settings.database_url:
        from reelport.server.events.notifications import NotifyBus  # noqa: PLC0415 - loads psycopg

        return NotifyBus(settings.database_url)
    return PipeBus(settings.workers_root)
