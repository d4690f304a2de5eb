"""Ends links to shared views when their author or their channels lose access."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, select

from reelport.server.state.tables import SHARED_VIEWS

_LINKS = SHARED_VIEWS.c


def count_open_links(connection: Connection, organization_id: int, now: datetime) -> int:
    """Count an organization's links that work now."""
    alive = _LINKS.revoked_at.is_(None), _LINKS.expires_at > now
    wanted = select(func.count()).select_from(SHARED_VIEWS).where(_LINKS.organization_id == organization_id, *alive)
    found: int = connection.execute(wanted).scalar_one()
    return found


def end_links_of(connection: Connection, organization_id: int, email: str, now: datetime) -> int:
    """End the links of a user who is being removed. Returns how many worked until now."""
    return _end(connection, _lock_links(connection, organization_id, _LINKS.created_by == email), now)


def keep_channels(
    connection: Connection, organization_id: int, email: str, channels: Collection[str], now: datetime
) -> int:
    """Take all other channels out of a user's links. Returns how many working links that ended."""
    return _narrow(connection, _lock_links(connection, organization_id, _LINKS.created_by == email), channels, now)


def withdraw_channels(connection: Connection, organization_id: int, channels: Collection[str], now: datetime) -> int:
    """Take channels out of an organization's links, and end those that have none left.

    Given again, the channels don't come back to them. Returns how many links ended that worked until now.
    """
    links = _lock_links(connection, organization_id)
    shown = frozenset[str]().union(*(json.loads(link.channels) for link in links))
    return _narrow(connection, links, shown.difference(channels), now)


def _narrow(
    connection: Connection, links: Collection[Row[*tuple[Any, ...]]], channels: Collection[str], now: datetime
) -> int:
    emptied = []
    for link in links:
        shown = json.loads(link.channels)
        left = [channel for channel in shown if channel in channels]
        if len(left) < len(shown):
            connection.execute(SHARED_VIEWS.update().where(_LINKS.id == link.id).values(channels=json.dumps(left)))
            emptied += [] if left else [link]
    return _end(connection, emptied, now)


def _lock_links(
    connection: Connection, organization_id: int, *conditions: ColumnElement[bool]
) -> list[Row[*tuple[Any, ...]]]:
    """Lock links that nobody has revoked, by id: so two that lock several don't deadlock."""
    unrevoked = _LINKS.organization_id == organization_id, _LINKS.revoked_at.is_(None)
    wanted = select(_LINKS.id, _LINKS.channels, _LINKS.expires_at).where(*unrevoked, *conditions)
    return list(connection.execute(wanted.order_by(_LINKS.id).with_for_update()))


def _end(connection: Connection, links: Collection[Row[*tuple[Any, ...]]], now: datetime) -> int:
    # Expired links too: if the clock is set back, they would work again.
    ids = [link.id for link in links]
    connection.execute(SHARED_VIEWS.update().where(_LINKS.id.in_(ids)).values(revoked_at=now))
    return sum(link.expires_at > now for link in links)
