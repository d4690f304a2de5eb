"""Warns after a load about rows whose owner channel no organization may read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from reelport.errors import ReelportError
from reelport.wording import format_count

if TYPE_CHECKING:
    from reelport.server.settings import Settings

_SHOWN = 3
_CONNECT_SECONDS = "5"


def describe_unread_rows(settings: Settings, owners: Mapping[str, int]) -> str | None:
    """Describe rows whose owner channel no organization may read; None when there are none.

    `owners` maps owner channels to numbers of rows. Also None when there is no state yet, which holds access.
    """
    if not owners or not (settings.database_url or settings.state_file.is_file()):
        return None
    try:
        known = _readable(settings)
    except ReelportError as error:
        return f"whether their owner channels may be read by anybody couldn't be looked up: {error}"
    if known is None:
        return None
    unread = {channel: rows for channel, rows in owners.items() if channel not in known}
    if not unread:
        return None
    most = sorted(unread, key=lambda channel: (-unread[channel], channel))
    listed = ", ".join(map(repr, most[:_SHOWN])) + (" …" if len(most) > _SHOWN else "")
    return (
        f"{format_count(sum(unread.values()), 'row')} of {format_count(len(unread), 'owner channel')} that no "
        f"organization may read ({listed}): if they are right, `reelport channel add` lets one read them"
    )


def _readable(settings: Settings) -> frozenset[str] | None:
    from sqlalchemy import select  # noqa: PLC0415 - slow to import, and a load without a state needs none

    from reelport.server.database_address import set_parameter  # noqa: PLC0415 - the same
    from reelport.server.state.database import open_database, reading  # noqa: PLC0415 - the same
    from reelport.server.state.revisions import read_revision, require_known_revision  # noqa: PLC0415 - the same
    from reelport.server.state.tables import READABLE  # noqa: PLC0415 - the same

    # The load is committed: its command must not wait long only for a warning.
    address = settings.database_url and set_parameter(settings.database_url, "connect_timeout", _CONNECT_SECONDS)
    db = open_database(replace(settings, database_url=address))
    try:
        with reading(db) as connection:
            if (found := read_revision(connection)) is None:
                return None
            require_known_revision(found)
            return frozenset(connection.execute(select(READABLE.c.channel_id).distinct()).scalars())
    finally:
        db.dispose()
