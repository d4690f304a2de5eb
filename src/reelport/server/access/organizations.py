"""Creates and lists organizations, and the channels that they may read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import IntegrityError

from reelport.errors import UsageError
from reelport.server.access import audit_log
from reelport.server.access.audit_log import Action, Actor
from reelport.server.access.callers import find_readable_channels
from reelport.server.access.key_expiry import check_max_days
from reelport.server.state.database import reading, writing
from reelport.server.state.tables import ORGANIZATIONS, READABLE
from reelport.similar_names import suggest
from reelport.wording import NAME_RULE, is_name

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Organization:
    """A partner of the platform, and the tenant of its reports; the longest life of its keys."""

    id: int
    name: str
    max_key_days: int | None = None


def add_organization(db: Engine, name: str, now: datetime) -> Organization:
    """Create an organization; UsageError when the name is taken or malformed."""
    if not name or not is_name(name, _LONGEST_NAME):
        raise UsageError(f"An organization's name is one line of 1 to {_LONGEST_NAME} characters: {NAME_RULE}.")
    try:
        with writing(db) as connection:
            added = ORGANIZATIONS.insert().values(name=name, created_at=now, served_at=_NEVER)
            number: int = connection.execute(added.returning(ORGANIZATIONS.c.id)).scalar_one()
            audit_log.record_command(connection, number, Action.ORGANIZATION_ADDED, name)
    except IntegrityError:
        raise UsageError(f"There is an organization {name!r} already.") from None
    return Organization(number, name)


def get_organization(db: Engine, name: str) -> Organization:
    """Get the organization of that name; UsageError suggests the nearest name."""
    with reading(db) as connection:
        return find_organization(connection, name)


def list_organizations(db: Engine) -> tuple[Organization, ...]:
    """List every organization, by name."""
    with reading(db) as connection:
        rows = connection.execute(select(ORGANIZATIONS).order_by(ORGANIZATIONS.c.name))
        return tuple(Organization(row.id, row.name, row.max_key_days) for row in rows)


def find_organization(connection: Connection, name: str) -> Organization:
    """Get the organization of that name in a transaction; UsageError suggests the nearest."""
    found = connection.execute(select(ORGANIZATIONS).where(ORGANIZATIONS.c.name == name)).first()
    if found is not None:
        return Organization(found.id, found.name, found.max_key_days)
    names = connection.execute(select(ORGANIZATIONS.c.name).order_by(ORGANIZATIONS.c.name)).scalars()
    raise UsageError(f"There is no organization {name!r}.{suggest(name, names)}")


def lock_organization(connection: Connection, name: str) -> Organization:
    """Get an organization, locked: nobody else asks, withdraws or makes keys in it meanwhile."""
    found = find_organization(connection, name)
    locked = select(ORGANIZATIONS.c.id).where(ORGANIZATIONS.c.id == found.id).with_for_update()
    # No row to lock: another transaction removed it meanwhile, so this raises UsageError.
    return found if connection.execute(locked).first() is not None else find_organization(connection, name)


def limit_key_life(
    connection: Connection, organization: Organization, days: int | None, actor: Actor, now: datetime
) -> None:
    """Set how many days an organization's keys live at most, existing keys too.

    None ends the limit: keys that had expired by it are valid again. UsageError when the days are out of range.
    """
    check_max_days(days)
    changed = ORGANIZATIONS.update().where(ORGANIZATIONS.c.id == organization.id)
    connection.execute(changed.values(max_key_days=days))
    said = {"days": days, "was": organization.max_key_days}
    action = Action.MAX_KEY_AGE_CHANGED
    audit_log.record_action(connection, organization.id, actor, action, organization.name, now, said)


def allow_channels(db: Engine, organization_id: int, channels: Iterable[str]) -> None:
    """Let an organization read these channels (ids), with their whole history. Idempotent.

    UsageError when it was removed since it was found.
    """
    locked = select(ORGANIZATIONS.c.id).where(ORGANIZATIONS.c.id == organization_id).with_for_update()
    with writing(db) as connection:
        if connection.execute(locked).first() is None:
            raise UsageError("The organization was removed just now.")
        known = find_readable_channels(connection, organization_id)
        rows = [{"organization_id": organization_id, "channel_id": channel} for channel in set(channels) - known]
        if rows:
            connection.execute(READABLE.insert(), rows)
            details = {"channels": sorted(set(channels) - known)}
            audit_log.record_command(connection, organization_id, Action.CHANNELS_ADDED, "", details)


def list_readable_channels(db: Engine, organization_id: int) -> frozenset[str]:
    """List the ids of the channels that an organization may read."""
    with reading(db) as connection:
        return find_readable_channels(connection, organization_id)
