"""Creates, names, lists and revokes the API keys of organizations."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, func, select

from reelport.errors import UsageError
from reelport.server import credentials
from reelport.server.access import audit_log, key_expiry
from reelport.server.access.access_tokens import REPORT_SCOPES
from reelport.server.access.audit_log import Action, Actor
from reelport.server.access.callers import find_readable_channels
from reelport.server.access.key_details import KeyDetails, find_name_problems, find_problems
from reelport.server.access.key_expiry import KeyKind, KeyTerms
from reelport.server.access.organizations import find_organization, lock_organization, suggest
from reelport.server.credentials import ServiceSecret
from reelport.server.state.database import reading, writing
from reelport.server.state.tables import KEY_CHANNELS, KEYS, ORGANIZATIONS

SECRET_PURPOSE = "key"  # noqa: S105 - what the hashes of keys' secrets are for
_IS_LISTED = KEYS.c.kind != KeyKind.STUDIO.value


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just created, or rotated: the only time that its secret is known."""

    id: str
    secret: str

    def __repr__(self) -> str:
        return f"NewKey({self.id})"


class SentBefore(UsageError):
    """What a form asks for was done already: the form was sent twice."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key without its secrets. `channels` None: it reads all of its organization.

    `created_by` is None for keys of before makers were stored. `next_grace_hours` is set while a second secret waits
    for its first use; `next_secret_created_at` stays where that was cancelled. `old_secret_until` is when the one
    before the last rotation ends.
    """

    id: str
    organization_id: int
    organization: str
    permissions: tuple[str, ...]
    channels: tuple[str, ...] | None
    created_at: datetime
    revoked_at: datetime | None
    name: str
    created_by: str | None
    last_used_at: datetime | None
    terms: KeyTerms
    next_secret_created_at: datetime | None
    next_grace_hours: int | None
    old_secret_until: datetime | None

    @property
    def kind(self) -> KeyKind:
        """How the key gets tokens."""
        return self.terms.kind

    @property
    def has_next_secret(self) -> bool:
        """Whether a second secret waits for its first use."""
        return self.next_grace_hours is not None

    @property
    def rotated_at(self) -> datetime:
        """When a secret of the key was made last, be it one that was taken back."""
        return max(self.terms.secret_created_at, self.next_secret_created_at or self.terms.secret_created_at)

    @property
    def expires_at(self) -> datetime | None:
        """When the key expires, by its own date or its organization's longest life."""
        return key_expiry.effective_expiry(self.terms)

    def is_expired(self, now: datetime) -> bool:
        """Whether the key is expired at this time."""
        return key_expiry.is_expired(self.terms, now)


def create_key(
    db: Engine,
    service_secret: ServiceSecret,
    organization: str,
    permissions: Collection[str],
    now: datetime,
    *,
    channels: Collection[str] | None = None,
    kind: str = KeyKind.PRIVATE,
    details: KeyDetails | None = None,
) -> NewKey:
    """Create a key with these scopes, limited to `channels` (ids) unless None.

    UsageError lists all of `find_problems`, and every channel that the organization may not read.
    """
    details = details or KeyDetails()
    new = NewKey(details.id or draw_key_id(), credentials.mint(credentials.KEY_SECRET))
    with writing(db) as connection:
        holder = lock_organization(connection, organization)
        if details.id and look_for_key(connection, details.id) is not None:
            raise SentBefore(f"{new.id} was made already: its secret was shown then, and can't be had again.")
        foreign = sorted(set(channels or ()) - find_readable_channels(connection, holder.id))
        wrong = [
            *find_problems(holder, permissions, channels, kind, details, now),
            *(f"Channel {id_!r} is not {organization}'s." for id_ in foreign),
        ]
        if wrong:
            raise UsageError("\n".join(wrong))
        row = {
            "id": new.id,
            "organization_id": holder.id,
            "secret_hash": service_secret.hash(SECRET_PURPOSE, new.secret),
            "permissions": " ".join(scope for scope in REPORT_SCOPES if scope in permissions),
            "kind": kind,
        }
        _insert_key(connection, row, channels, details, now)
    return new


def _insert_key(
    connection: Connection,
    row: Mapping[str, object],
    channels: Collection[str] | None,
    details: KeyDetails,
    now: datetime,
) -> None:
    known = {
        "limited": int(channels is not None),
        "created_at": now,
        "name": details.name,
        "created_by": details.created_by,
        "expires_at": key_expiry.parse_expiry(details.expires, now) if details.expires else None,
    }
    connection.execute(KEYS.insert().values({**row, **known}))
    if channels is not None:
        limits = [{"key_id": row["id"], "channel_id": channel} for channel in set(channels)]
        connection.execute(KEY_CHANNELS.insert(), limits)
    if details.actor is not None:
        _record_creation(connection, find_key(connection, str(row["id"])), details.actor, now)


def _record_creation(connection: Connection, key: Key, actor: Actor, now: datetime) -> None:
    said = {
        "name": key.name,
        "kind": key.kind,
        "permissions": key.permissions,
        "channels": "all" if key.channels is None else key.channels,
        "expires": key.expires_at.isoformat(timespec="minutes") if key.expires_at else None,
    }
    record_change(connection, key, actor, Action.KEY_CREATED, now, said)


def draw_key_id() -> str:
    """Draw the id of a new key."""
    return f"{credentials.KEY_ID}_{credentials.short_id()}"


def list_keys(db: Engine, organization: str | None = None) -> tuple[Key, ...]:
    """List every key but Studio's, or those of one organization, by organization and age."""
    query = _select_keys().order_by(ORGANIZATIONS.c.name, KEYS.c.created_at, KEYS.c.id)
    with reading(db) as connection:
        if organization is not None:
            query = query.where(KEYS.c.organization_id == find_organization(connection, organization).id)
        rows = connection.execute(query).all()
        limits: dict[str, list[str]] = {}
        for key_id, channel in connection.execute(select(KEY_CHANNELS).order_by(KEY_CHANNELS.c.channel_id)):
            limits.setdefault(key_id, []).append(channel)
    return tuple(_read_key(row, limits.get(row.id, ())) for row in rows)


def find_ended(keys: Iterable[Key], max_days: int | None, now: datetime) -> tuple[str, ...]:
    """Find the ids of valid keys that would expire at once by another longest life.

    UsageError when it is none that keys may have.
    """
    key_expiry.check_max_days(max_days)
    valid = (key for key in keys if key.revoked_at is None and not key.is_expired(now))
    return tuple(key.id for key in valid if key_expiry.is_expired(replace(key.terms, max_days=max_days), now))


def find_key(connection: Connection, key_id: str) -> Key:
    """Find a key; UsageError, with the nearest id that is valid, when there is none."""
    found = look_for_key(connection, key_id)
    if found is None:
        valid = select(KEYS.c.id).where(KEYS.c.revoked_at.is_(None), _IS_LISTED)
        raise UsageError(f"There is no key {key_id!r}.{suggest(key_id, connection.execute(valid).scalars().all())}")
    return found


def look_for_key(connection: Connection, key_id: str) -> Key | None:
    """Find a key; None when there is none, or it is Studio's."""
    row = connection.execute(_select_keys().where(KEYS.c.id == key_id)).first()
    if row is None:
        return None
    limit = select(KEY_CHANNELS.c.channel_id).where(KEY_CHANNELS.c.key_id == key_id).order_by(KEY_CHANNELS.c.channel_id)
    return _read_key(row, connection.execute(limit).scalars().all())


def _select_keys() -> Select[*tuple[Any, ...]]:
    since = func.coalesce(KEYS.c.secret_created_at, KEYS.c.created_at).label("secret_since")
    of_organization = ORGANIZATIONS.c.name.label("organization"), ORGANIZATIONS.c.max_key_days
    return select(KEYS, since, *of_organization).join(ORGANIZATIONS).where(_IS_LISTED)


def _read_key(row: Row[*tuple[Any, ...]], channels: Collection[str]) -> Key:
    return Key(
        row.id,
        row.organization_id,
        row.organization,
        tuple(row.permissions.split()),
        tuple(channels) if row.limited else None,
        row.created_at,
        row.revoked_at,
        row.name,
        row.created_by,
        row.last_used_at,
        KeyTerms(KeyKind(row.kind), row.secret_since, row.expires_at, row.max_key_days),
        row.next_secret_created_at,
        row.next_grace_hours,
        row.old_secret_until,
    )


def rename_key(connection: Connection, key_id: str, name: str, actor: Actor, now: datetime) -> Key:
    """Give a key another name; return it as it was. UsageError for a bad name or no such key."""
    if wrong := find_name_problems(name):
        raise UsageError("\n".join(wrong))
    key = find_key(connection, key_id)
    connection.execute(KEYS.update().where(KEYS.c.id == key.id).values(name=name))
    record_change(connection, key, actor, Action.KEY_RENAMED, now, {"name": name, "was": key.name})
    return key


def revoke_key(db: Engine, key_id: str, now: datetime, actor: Actor | None = None) -> bool:
    """Revoke a key with its tokens; False when it was revoked before, UsageError for none."""
    with writing(db) as connection:
        key = find_key(connection, key_id)
        ended = KEYS.update().where(KEYS.c.id == key.id, KEYS.c.revoked_at.is_(None)).values(revoked_at=now)
        is_ended = connection.execute(ended).rowcount == 1
        if is_ended and actor is not None:
            record_change(connection, key, actor, Action.KEY_REVOKED, now)
    return is_ended


def record_change(
    connection: Connection,
    key: Key,
    actor: Actor,
    action: Action,
    now: datetime,
    details: Mapping[str, object] | None = None,
) -> None:
    """Add a change of a key to the audit log, in the transaction of the change."""
    audit_log.record_action(connection, key.organization_id, actor, action, key.id, now, details)
