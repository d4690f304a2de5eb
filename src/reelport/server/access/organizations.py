"""Creates and lists organizations, the channels that they may read, and their keys."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import IntegrityError

from reelport.errors import UsageError
from reelport.server import credentials
from reelport.server.access.access_tokens import REPORT_SCOPES
from reelport.server.access.callers import find_readable_channels
from reelport.server.access.grants import KeyKind
from reelport.server.credentials import ServiceSecret
from reelport.server.state.database import reading, writing
from reelport.server.state.tables import KEY_CHANNELS, KEYS, ORGANIZATIONS, READABLE

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Organization:
    """A partner of the platform, and the tenant of its reports."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just created: the only time that its secret is known."""

    id: str
    secret: str

    def __repr__(self) -> str:
        return f"NewKey({self.id})"


@dataclass(frozen=True, slots=True)
class Key:
    """A key without its secret. `channels` None: it reads all of its organization."""

    id: str
    organization: str
    permissions: tuple[str, ...]
    channels: tuple[str, ...] | None
    created_at: datetime
    revoked_at: datetime | None
    kind: KeyKind


def add_organization(db: Engine, name: str, now: datetime) -> Organization:
    """Create an organization; UsageError when the name is taken or malformed."""
    if not name.strip() or name != name.strip() or not name.isprintable() or len(name) > _LONGEST_NAME:
        raise UsageError(f"An organization's name has 1 to {_LONGEST_NAME} printable characters, no blanks around it.")
    try:
        with writing(db) as connection:
            added = ORGANIZATIONS.insert().values(name=name, created_at=now, served_at=_NEVER)
            number: int = connection.execute(added.returning(ORGANIZATIONS.c.id)).scalar_one()
    except IntegrityError:
        raise UsageError(f"There is an organization {name!r} already.") from None
    return Organization(number, name)


def is_id(word: str, longest: int) -> bool:
    """Whether an id or slug is printable, without blanks or commas.

    Each must fit into a comma-separated list.
    """
    return 1 <= len(word) <= longest and word.isprintable() and not any(sign.isspace() or sign == "," for sign in word)


def get_organization(db: Engine, name: str) -> Organization:
    """Get the organization of that name; UsageError suggests the nearest name."""
    with reading(db) as connection:
        return find_organization(connection, name)


def list_organizations(db: Engine) -> tuple[Organization, ...]:
    """List every organization, by name."""
    with reading(db) as connection:
        rows = connection.execute(select(ORGANIZATIONS.c.id, ORGANIZATIONS.c.name).order_by(ORGANIZATIONS.c.name))
        return tuple(Organization(row.id, row.name) for row in rows)


def find_organization(connection: Connection, name: str) -> Organization:
    """Get the organization of that name in a transaction; UsageError suggests the nearest."""
    found = connection.execute(select(ORGANIZATIONS.c.id).where(ORGANIZATIONS.c.name == name)).scalar()
    if found is not None:
        return Organization(found, name)
    names = connection.execute(select(ORGANIZATIONS.c.name)).scalars().all()
    raise UsageError(f"There is no organization {name!r}.{_suggest(name, names)}")


def lock_organization(connection: Connection, name: str) -> Organization:
    """Get an organization, locked: nobody else asks, withdraws or makes keys in it meanwhile."""
    found = find_organization(connection, name)
    locked = select(ORGANIZATIONS.c.id).where(ORGANIZATIONS.c.id == found.id).with_for_update()
    # No row to lock: another transaction removed it meanwhile, so this raises UsageError.
    return found if connection.execute(locked).first() is not None else find_organization(connection, name)


def allow_channels(db: Engine, organization_id: int, channels: Iterable[str]) -> None:
    """Let an organization read these channels (ids), with their whole history. Idempotent."""
    with writing(db) as connection:
        connection.execute(select(ORGANIZATIONS.c.id).where(ORGANIZATIONS.c.id == organization_id).with_for_update())
        known = find_readable_channels(connection, organization_id)
        rows = [{"organization_id": organization_id, "channel_id": channel} for channel in set(channels) - known]
        if rows:
            connection.execute(READABLE.insert(), rows)


def list_readable_channels(db: Engine, organization_id: int) -> frozenset[str]:
    """List the ids of the channels that an organization may read."""
    with reading(db) as connection:
        return find_readable_channels(connection, organization_id)


def create_key(
    db: Engine,
    service_secret: ServiceSecret,
    organization: str,
    permissions: Collection[str],
    now: datetime,
    *,
    channels: Collection[str] | None = None,
    kind: str = KeyKind.PRIVATE,
) -> NewKey:
    """Create a key with these scopes, limited to `channels` (ids) unless None.

    UsageError lists every unknown scope, every channel that the organization may not read, and an unknown kind.
    """
    new = NewKey(f"{credentials.KEY_ID}_{credentials.short_id()}", credentials.mint(credentials.KEY_SECRET))
    with writing(db) as connection:
        holder = lock_organization(connection, organization)
        foreign = sorted(set(channels or ()) - find_readable_channels(connection, holder.id))
        wrong = [
            *find_permission_problems(permissions),
            *(f"Channel {id_!r} is not {organization}'s." for id_ in foreign),
        ]
        if kind not in set(KeyKind):
            wrong.append(f"There is no kind of key {kind!r}: it is {' or '.join(KeyKind)}.")
        if channels is not None and not channels:
            wrong.append("A key that is limited to no channel could read nothing.")
        if wrong:
            raise UsageError("\n".join(wrong))
        connection.execute(
            KEYS.insert().values(
                id=new.id,
                organization_id=holder.id,
                secret_hash=service_secret.hash("key", new.secret),
                permissions=" ".join(scope for scope in REPORT_SCOPES if scope in permissions),
                limited=int(channels is not None),
                created_at=now,
                kind=kind,
            )
        )
        if channels is not None:
            rows = [{"key_id": new.id, "channel_id": channel} for channel in set(channels)]
            connection.execute(KEY_CHANNELS.insert(), rows)
    return new


def find_permission_problems(permissions: Collection[str]) -> list[str]:
    """List a sentence for each unknown permission, with the nearest known one.

    Empty when all are known.
    """
    if not permissions:
        return [f"A key needs permissions: {', '.join(REPORT_SCOPES)}."]
    unknown = [name for name in permissions if name not in REPORT_SCOPES]
    return [f"There is no permission {name!r}.{_suggest(name, REPORT_SCOPES)}" for name in unknown]


def _suggest(name: str, known: Iterable[str]) -> str:
    names = list(known)
    nearest = difflib.get_close_matches(name, names, n=1)
    if nearest:
        return f" Did you mean {nearest[0]}?"
    return f" Known: {', '.join(sorted(names)[:10])}." if names else ""


def list_keys(db: Engine, organization: str | None = None) -> tuple[Key, ...]:
    """List every key, or those of one organization, by organization and age."""
    query = (
        select(KEYS, ORGANIZATIONS.c.name)
        .join(ORGANIZATIONS)
        .order_by(ORGANIZATIONS.c.name, KEYS.c.created_at, KEYS.c.id)
    )
    with reading(db) as connection:
        if organization is not None:
            query = query.where(KEYS.c.organization_id == find_organization(connection, organization).id)
        rows = connection.execute(query).all()
        limits: dict[str, list[str]] = {}
        for key_id, channel in connection.execute(select(KEY_CHANNELS).order_by(KEY_CHANNELS.c.channel_id)):
            limits.setdefault(key_id, []).append(channel)
    return tuple(
        Key(
            row.id,
            row.name,
            tuple(row.permissions.split()),
            tuple(limits.get(row.id, ())) if row.limited else None,
            row.created_at,
            row.revoked_at,
            KeyKind(row.kind),
        )
        for row in rows
    )


def revoke_key(db: Engine, key_id: str, now: datetime) -> bool:
    """Revoke a key with its tokens; False when it was revoked before, UsageError for none."""
    with writing(db) as connection:
        if connection.execute(select(KEYS.c.id).where(KEYS.c.id == key_id)).first() is None:
            known = connection.execute(select(KEYS.c.id).where(KEYS.c.revoked_at.is_(None))).scalars().all()
            raise UsageError(f"There is no key {key_id!r}.{_suggest(key_id, known)}")
        ended = KEYS.update().where(KEYS.c.id == key_id, KEYS.c.revoked_at.is_(None)).values(revoked_at=now)
        return connection.execute(ended).rowcount == 1
