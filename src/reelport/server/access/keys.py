"""The API keys of organizations: checks, creates, lists, renames, revokes and rotates them.

A rotation makes the next secret of a key. Its first use makes it the key's secret; the one before is the old secret
from then on, and is valid for the grace that was chosen. So there is no moment in which no secret works. Until that
first use nothing changes, and the rotation can be cancelled.

Each organization also has a key of Studio's, by which people ask for reports in the page. Nobody has a secret of it, no
list shows it, and no token is granted for it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, func, select

from reelport.errors import AccessError, UsageError
from reelport.language import _, ngettext
from reelport.server import credentials
from reelport.server.access import audit_log, key_expiry
from reelport.server.access.audit_log import COMMAND_LINE, Action, Actor
from reelport.server.access.callers import REPORT_SCOPES, Caller, find_holder, find_readable_channels, narrow
from reelport.server.access.key_expiry import NOTICE, KeyKind, KeyTerms
from reelport.server.access.organizations import Organization, find_organization, lock_organization
from reelport.server.access.roles import Reach
from reelport.server.credentials import ServiceSecret
from reelport.server.state.database import reading, writing
from reelport.server.state.tables import KEY_CHANNELS, KEYS, ORGANIZATIONS
from reelport.similar_names import suggest
from reelport.wording import NAME_RULE, is_name

_KINDS = (KeyKind.PRIVATE, KeyKind.PUBLIC)
"""The kinds of keys that can be made."""
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class KeyDetails:
    """What a key is called, when it expires (days or a date, as typed), and who makes it."""

    name: str = ""
    expires: str | None = None
    actor: Actor | None = None

    @property
    def created_by(self) -> str:
        """Who made the key, as lists show it: an e-mail address, or that it was a command."""
        return COMMAND_LINE if self.actor is None or self.actor.address == COMMAND_LINE else self.actor.name


def _find_problems(
    holder: Organization | None,
    permissions: Collection[str],
    channels: Collection[str] | None,
    kind: str,
    details: KeyDetails,
    now: datetime,
) -> list[str]:
    """List a sentence for each reason why such a key can't be made; channels aren't looked for.

    An organization that isn't known (None) limits no expiry.
    """
    unknown = [name for name in permissions if name not in REPORT_SCOPES]
    wrong = [f"There is no permission {name!r}.{suggest(name, REPORT_SCOPES)}" for name in unknown]
    wrong += [] if permissions else [f"A key needs permissions: {', '.join(REPORT_SCOPES)}."]
    wrong += _find_name_problems(details.name)
    if kind not in _KINDS:
        wrong.append(f"There is no kind of key {kind!r}: it is {' or '.join(_KINDS)}.")
    if channels is not None and not channels:
        wrong.append("A key that is limited to no channel could read nothing.")
    return wrong + _find_expiry_problems(holder, details.expires, now)


def _find_name_problems(name: str) -> list[str]:
    if is_name(name, _LONGEST_NAME):
        return []
    return [f"A key's name is one line of at most {_LONGEST_NAME} characters: {NAME_RULE}."]


def _find_expiry_problems(holder: Organization | None, expires: str | None, now: datetime) -> list[str]:
    if not expires:
        return []
    try:
        found = key_expiry.parse_expiry(expires, now)
    except ValueError as error:
        return [str(error)]
    if holder is None or holder.max_key_days is None:
        return []
    latest = now + timedelta(days=holder.max_key_days)
    if found <= latest:
        return []
    life = f"Keys of {holder.name} live {holder.max_key_days} days at most"
    return [f"{life}: this one can't expire after {latest:%Y-%m-%d}, and was to on {found:%Y-%m-%d}."]


SECRET_PURPOSE = "key"  # noqa: S105 - what the hashes of keys' secrets are for
_IS_LISTED = KEYS.c.kind != KeyKind.STUDIO.value


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just created, or rotated. Its secret is known only now."""

    id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Key:
    """A key without its secrets. `channels` None: it reads all of its organization.

    `next_grace_hours` and `next_secret_created_at` are set while a second secret waits for its first use.
    `old_secret_until` is when the one before the last rotation ends.
    """

    id: str
    organization_id: int
    organization: str
    permissions: tuple[str, ...]
    channels: tuple[str, ...] | None
    created_at: datetime
    revoked_at: datetime | None
    name: str
    created_by: str
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
    slugs: Mapping[str, str] | None = None,
    kind: str = KeyKind.PRIVATE,
    details: KeyDetails | None = None,
) -> NewKey:
    """Create a key with these scopes, limited to `channels` unless None.

    They are ids, or `slugs` (by the ids). UsageError lists every problem.
    """
    details = details or KeyDetails()
    new = NewKey(_draw_key_id(), credentials.mint(credentials.KEY_SECRET))
    with writing(db) as connection:
        holder, wrong = None, list[str]()
        try:
            holder = lock_organization(connection, organization)
        except UsageError as error:
            wrong.append(str(error))
        wrong += _find_problems(holder, permissions, channels, kind, details, now)
        limit = set[str]()
        if holder is not None and channels:
            limit, unclear = _find_channels(connection, holder, channels, slugs or {})
            wrong += unclear
        if holder is None or wrong:
            raise UsageError("\n".join(wrong))
        row = {
            "id": new.id,
            "organization_id": holder.id,
            "secret_hash": service_secret.hash(SECRET_PURPOSE, new.secret),
            "permissions": " ".join(scope for scope in REPORT_SCOPES if scope in permissions),
            "kind": kind,
            "limited": int(channels is not None),
            "created_at": now,
            "name": details.name,
            "created_by": details.created_by,
            "expires_at": key_expiry.parse_expiry(details.expires, now) if details.expires else None,
        }
        connection.execute(KEYS.insert().values(row))
        if channels is not None:
            limits = [{"key_id": new.id, "channel_id": channel} for channel in limit]
            connection.execute(KEY_CHANNELS.insert(), limits)
        if details.actor is not None:
            key = find_key(connection, new.id)
            said = {
                "kind": key.kind,
                "permissions": key.permissions,
                "channels": "all" if key.channels is None else key.channels,
                "expires": key.expires_at.isoformat(timespec="minutes") if key.expires_at else None,
            }
            record_change(connection, key, details.actor, Action.KEY_CREATED, now, said)
    return new


def _find_channels(
    connection: Connection, holder: Organization, channels: Collection[str], slugs: Mapping[str, str]
) -> tuple[set[str], list[str]]:
    """Find the ids of an organization's channels that are named by id or slug.

    The sentences say which name is of no channel, or of several: two may share a slug.
    """
    known: dict[str, set[str]] = {}
    for id_ in find_readable_channels(connection, holder.id):
        for name in {id_, slugs.get(id_, id_)}:
            known.setdefault(name, set()).add(id_)
    lacking = [name for name in channels if name not in known]
    wrong = [f"{holder.name} has no channel {name!r}.{suggest(name, sorted(known))}" for name in lacking]
    found = {name: known.get(name, set()) for name in channels}
    several = {name: " or ".join(sorted(ids)) for name, ids in found.items() if len(ids) > 1}
    wrong += [f"{name!r} may mean {ids}: name each channel by what is its own." for name, ids in several.items()]
    return set[str]().union(*found.values()), wrong


def _draw_key_id() -> str:
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


def find_too_old_keys(keys: Iterable[Key], max_days: int | None, now: datetime) -> tuple[str, ...]:
    """Find the valid keys (ids) that another longest life would end at once.

    UsageError for a life that no key may have.
    """
    key_expiry.check_max_days(max_days)
    valid = (key for key in keys if key.revoked_at is None and not key.is_expired(now))
    return tuple(key.id for key in valid if key_expiry.is_expired(replace(key.terms, max_days=max_days), now))


def find_key(connection: Connection, key_id: str) -> Key:
    """Find a key; UsageError, with the nearest id that is valid, when there is none."""
    found = look_for_key(connection, key_id)
    if found is None:
        valid = select(KEYS.c.id).where(KEYS.c.revoked_at.is_(None), _IS_LISTED).order_by(KEYS.c.id)
        raise UsageError(f"There is no key {key_id!r}.{suggest(key_id, connection.execute(valid).scalars())}")
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
    if wrong := _find_name_problems(name):
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
    """Record in the audit log what was done with a key."""
    said = {"name": key.name, **(details or {})}
    audit_log.record_action(connection, key.organization_id, actor, action, key.id, now, said)


IDLE = timedelta(days=30)
"""A key that was not used for so long is marked idle."""
_DAY, _HOUR = timedelta(days=1), timedelta(hours=1)


def expires_soon(key: Key, now: datetime) -> bool:
    """Whether a valid key expires within NOTICE."""
    expires_at = key.expires_at
    return key.revoked_at is None and expires_at is not None and now < expires_at <= now + NOTICE


def list_marks(key: Key, now: datetime) -> tuple[str, ...]:
    """List what an owner should know of a key at a glance, the most urgent first."""
    return (_("revoked"),) if key.revoked_at is not None else tuple(_find_marks(key, now))


def _find_marks(key: Key, now: datetime) -> Iterator[str]:
    expires_at = key.expires_at
    if key.is_expired(now):
        yield _("expired")
    elif expires_at is not None and expires_soon(key, now):
        left = expires_at - now
        if left >= _DAY:
            yield ngettext("expires in %(n)s day", "expires in %(n)s days", left // _DAY)
        else:
            yield ngettext("expires in %(n)s hour", "expires in %(n)s hours", left // _HOUR)
    if key.has_next_secret:
        yield _("second secret unused")
    if key.old_secret_until is not None and now < key.old_secret_until:
        until = f"{key.old_secret_until:%Y-%m-%d %H:%M}"
        yield _("old secret until %(moment)s", moment=until)
    if key.last_used_at is None:
        yield _("never used")
    elif now - key.last_used_at >= IDLE:
        yield ngettext("idle %(n)s day", "idle %(n)s days", (now - key.last_used_at) // _DAY)


_NO_SECRET = ""
"""Stored in place of the hash of a secret: it is the hash of none."""


def identify_studio(db: Engine, reach: Reach, now: datetime) -> Caller:
    """Find the caller by which Studio acts for a person; the first call makes its key.

    AccessError when the organization was removed meanwhile.
    """
    with reading(db) as connection:
        key = find_studio_key(connection, reach.organization_id)
        holder = None if key is None else find_holder(connection, key, now)
    if holder is None:
        with writing(db) as connection:
            holder = find_holder(connection, find_or_create_studio_key(connection, reach.organization_id, now), now)
    if holder is None:
        raise AccessError("Studio's key of this organization is revoked.")
    return narrow(holder, reach)


def find_or_create_studio_key(connection: Connection, organization_id: int, now: datetime) -> str:
    """Return the id of Studio's key of an organization; the first call makes it.

    It has every scope and reads every channel of the organization. The transaction must be one that writes. AccessError
    when the organization was removed meanwhile.
    """
    # Of two that make the first key, the second waits here for the first, and then finds it.
    locked = select(ORGANIZATIONS.c.id).where(ORGANIZATIONS.c.id == organization_id).with_for_update()
    if connection.execute(locked).first() is None:
        raise AccessError("This organization was removed just now.")
    if (found := find_studio_key(connection, organization_id)) is not None:
        return found
    key_id = _draw_key_id()
    row = {
        "id": key_id,
        "organization_id": organization_id,
        "secret_hash": _NO_SECRET,
        "permissions": " ".join(REPORT_SCOPES),
        "kind": KeyKind.STUDIO.value,
        "limited": 0,
        "created_at": now,
    }
    connection.execute(KEYS.insert().values(row))
    return key_id


def find_studio_key(connection: Connection, organization_id: int) -> str | None:
    """Find the id of Studio's key of an organization; None before the first use of Studio."""
    of_studio = KEYS.c.organization_id == organization_id, KEYS.c.kind == KeyKind.STUDIO.value
    return connection.execute(select(KEYS.c.id).where(*of_studio)).scalar()
