"""Creates, lists and revokes the API keys of organizations."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, select

from reelport.errors import UsageError
from reelport.server import credentials
from reelport.server.access.access_tokens import REPORT_SCOPES
from reelport.server.access.callers import find_readable_channels
from reelport.server.access.key_expiry import KeyKind
from reelport.server.access.organizations import find_organization, lock_organization, suggest
from reelport.server.credentials import ServiceSecret
from reelport.server.state.database import reading, writing
from reelport.server.state.tables import KEY_CHANNELS, KEYS, ORGANIZATIONS

_KINDS = (KeyKind.PRIVATE, KeyKind.PUBLIC)
"""The kinds of keys that can be made."""
_IS_LISTED = KEYS.c.kind != KeyKind.STUDIO.value


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
        if kind not in _KINDS:
            wrong.append(f"There is no kind of key {kind!r}: it is {' or '.join(_KINDS)}.")
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
    return [f"There is no permission {name!r}.{suggest(name, REPORT_SCOPES)}" for name in unknown]


def list_keys(db: Engine, organization: str | None = None) -> tuple[Key, ...]:
    """List every key but Studio's, or those of one organization, by organization and age."""
    query = (
        select(KEYS, ORGANIZATIONS.c.name)
        .join(ORGANIZATIONS)
        .where(_IS_LISTED)
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
        if connection.execute(select(KEYS.c.id).where(KEYS.c.id == key_id, _IS_LISTED)).first() is None:
            alive = select(KEYS.c.id).where(KEYS.c.revoked_at.is_(None), _IS_LISTED)
            known = connection.execute(alive).scalars().all()
            raise UsageError(f"There is no key {key_id!r}.{suggest(key_id, known)}")
        ended = KEYS.update().where(KEYS.c.id == key_id, KEYS.c.revoked_at.is_(None)).values(revoked_at=now)
        return connection.execute(ended).rowcount == 1
