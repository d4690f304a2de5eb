"""The people of an organization, as its owners manage them.

Each change is made while the organization is locked, and by somebody who is an owner of it then (else NoOwner is
raised): so the last owner can't go, whatever other owners do at the same moment.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, func, or_, select
from sqlalchemy.exc import IntegrityError

from reelport.errors import UsageError
from reelport.language import _
from reelport.server.access import audit_log, users
from reelport.server.access.audit_log import Action, Actor
from reelport.server.access.callers import clean_text, find_tenant
from reelport.server.access.organizations import Organization
from reelport.server.access.password_links import NewPasswordLink, insert_link
from reelport.server.access.roles import OF_ORGANIZATION, Reach, Role, parse_channels, write_channels
from reelport.server.access.sessions import Session
from reelport.server.access.users import (
    NO_PASSWORD,
    describe_links,
    find_email_problems,
    insert_user,
    normalize_email,
)
from reelport.server.access.withdrawn_links import end_links_of, keep_channels
from reelport.server.credentials import ServiceSecret
from reelport.server.state.database import reading, writing
from reelport.server.state.tables import AUDIT_LOG, ORGANIZATIONS, PASSWORD_LINKS, SESSIONS, USERS

LAST_OWNER = "There would be no owner left who can sign in: make somebody else an owner first."


class NoOwner(UsageError):
    """The author of a change is no owner of the organization any more."""


class NoPerson(UsageError):
    """There is no such user in the organization."""


class AddressTaken(UsageError):
    """Somebody elsewhere has this address: who, is not an owner's to know."""


@dataclass(frozen=True, slots=True)
class Person:
    """A user of an organization. `sessions` counts the browsers in which the user is signed in.

    `link_until` is when a link to set a password expires; None without one. With `has_factor` the password alone signs
    nobody in. `channels` are the ids of those that the user may see; None for all. With `is_by_provider` an OpenID
    Connect provider signs the user in, and decides the role.
    """

    id: str
    email: str
    role: Role
    has_password: bool
    created_at: datetime
    signed_in_at: datetime | None
    sessions: int
    link_until: datetime | None
    has_factor: bool
    channels: frozenset[str] | None
    is_by_provider: bool


def list_people(db: Engine, organization_id: int, now: datetime) -> tuple[Person, ...]:
    """List the users of an organization, by address."""
    log = AUDIT_LOG.c
    sign_ins = (
        select(log.actor, func.max(log.at).label("at"))
        .where(log.organization_id == organization_id, log.action == Action.SIGNED_IN.value)
        .group_by(log.actor)
        .subquery()
    )
    open_sessions = (
        select(func.count())
        .where(SESSIONS.c.user_id == USERS.c.id, SESSIONS.c.epoch == USERS.c.epoch, SESSIONS.c.expires_at > now)
        .scalar_subquery()
    )
    link = PASSWORD_LINKS.c
    link_until = select(func.max(link.expires_at)).where(link.user_id == USERS.c.id, link.expires_at > now)
    found = (
        select(
            USERS,
            sign_ins.c.at,
            open_sessions.label("sessions"),
            link_until.scalar_subquery().label("link_until"),
            users.HAS_FACTOR.label("has_factor"),
        )
        .outerjoin(sign_ins, sign_ins.c.actor == USERS.c.email)
        .where(USERS.c.organization_id == organization_id)
        .order_by(USERS.c.email)
    )
    with reading(db) as connection:
        return tuple(_make_person(row) for row in connection.execute(found))


def add_person(
    db: Engine, service_secret: ServiceSecret, owner: Session, email: str, role: str, actor: Actor, now: datetime
) -> NewPasswordLink:
    """Add a user without a password to the owner's organization; the link sets one.

    UsageError lists every problem; AddressTaken when somebody elsewhere has the address, which the log then tells.
    """
    address = normalize_email(email)
    if wrong := [*find_email_problems(address), *_find_role_problem(role)]:
        raise UsageError("\n".join(wrong))
    try:
        with writing(db) as connection:
            holder = lock_organization_of(connection, owner)
            known = connection.execute(select(USERS.c.organization_id).where(USERS.c.email == address)).first()
            if known is None:
                new, details = insert_user(connection, holder, address, Role(role), NO_PASSWORD, now), {"role": role}
                audit_log.record_action(connection, holder.id, actor, Action.USER_ADDED, address, now, details)
                return insert_link(connection, service_secret, new.id, address, now)
            if known.organization_id == holder.id:
                raise UsageError(f"{address} is a user of {holder.name} already.")
            audit_log.record_action(connection, holder.id, actor, Action.USER_NOT_ADDED, address, now)
    except IntegrityError:  # somebody else adds the address at this moment: now it is known
        return add_person(db, service_secret, owner, email, role, actor, now)
    raise AddressTaken(f"{address} can't be added: the platform's operator can say why, and add it if that is right.")


def make_password_link(
    db: Engine, service_secret: ServiceSecret, owner: Session, user_id: str, actor: Actor, now: datetime
) -> NewPasswordLink:
    """Make a link for a user of the owner's organization.

    The user's password and logins stay until the link is used. UsageError for a user whom a provider signs in.
    """
    with changing(db, owner, user_id) as (connection, holder, user):
        if user.subject is not None:
            raise UsageError(_("%(email)s signs in by the provider, and has no password here.", email=user.email))
        audit_log.record_action(connection, holder.id, actor, Action.PASSWORD_LINK_MADE, user.email, now)
        return insert_link(connection, service_secret, user.id, user.email, now)


def change_role(db: Engine, owner: Session, user_id: str, role: str, actor: Actor, now: datetime) -> None:
    """Give a user of the owner's organization another role.

    UsageError when no owner would be left, and for a user whom a provider signs in. The user's sessions go on, with the
    new role's rights.
    """
    if wrong := _find_role_problem(role):
        raise UsageError("\n".join(wrong))
    with changing(db, owner, user_id) as (connection, holder, user):
        if user.role == role:
            return
        if user.subject is not None:
            raise UsageError(_("%(email)s signs in by the provider, whose groups decide the role.", email=user.email))
        _check_owner_stays(connection, holder, user)
        set_role(connection, user, Role(role), actor, now)


def set_role(
    connection: Connection,
    user: Row[*tuple[Any, ...]],
    role: Role,
    actor: Actor,
    now: datetime,
    by: Mapping[str, object] | None = None,
) -> None:
    """Give a user another role, unless it is the same.

    Links to views end with a role that may not share. An owner sees every channel.
    """
    if user.role == role:
        return
    values = {"role": role.value, "channels": None if role is Role.OWNER else user.channels}
    connection.execute(USERS.update().where(USERS.c.id == user.id).values(**values))
    is_sharing, of = role in (Role.OWNER, Role.ANALYST), user.organization_id
    links = 0 if is_sharing or of is None else end_links_of(connection, of, user.email, now)
    details = {"was": user.role, "is": role.value, **describe_links(links), **(by or {})}
    audit_log.record_action(connection, of, actor, Action.ROLE_CHANGED, user.email, now, details)


def limit_channels(
    db: Engine, owner: Session, user_id: str, channels: Collection[str] | None, actor: Actor, now: datetime
) -> None:
    """Let a user of the owner's organization see these channels (ids) alone, or with None all.

    UsageError for an owner, for no channel, and for one that the organization can't read. The user's links to views
    lose the other channels, too, and end if they have none left.
    """
    wanted = None if channels is None else frozenset(channels)
    with changing(db, owner, user_id) as (connection, holder, user):
        if wanted is not None:
            _check_channels(connection, holder, user.role, wanted)
        connection.execute(USERS.update().where(USERS.c.id == user.id).values(channels=write_channels(wanted)))
        links = 0 if wanted is None else keep_channels(connection, holder.id, user.email, wanted, now)
        details = {"channels": None if wanted is None else sorted(wanted), **describe_links(links)}
        audit_log.record_action(connection, holder.id, actor, Action.CHANNELS_LIMITED, user.email, now, details)


def _check_channels(connection: Connection, holder: Organization, role: str, channels: frozenset[str]) -> None:
    if role == Role.OWNER:
        raise UsageError("An owner sees every channel: give the person another role first.")
    if not channels:
        raise UsageError("Choose a channel, or all of them.")
    if foreign := sorted(channels - find_tenant(connection, Reach(holder.id)).channels):
        raise UsageError(f"{holder.name} can't read the channel {foreign[0]}: choose others.")


def remove_person(db: Engine, owner: Session, user_id: str, actor: Actor, now: datetime) -> None:
    """Remove a user of the owner's organization, with every login.

    Links to views that the user shared end too. UsageError when no owner would be left.
    """
    with changing(db, owner, user_id) as (connection, holder, user):
        _check_owner_stays(connection, holder, user)
        # Sessions, refresh tokens and links go with the user.
        connection.execute(USERS.delete().where(USERS.c.id == user.id))
        details = describe_links(end_links_of(connection, holder.id, user.email, now))
        audit_log.record_action(connection, holder.id, actor, Action.USER_REMOVED, user.email, now, details)


@contextmanager
def changing(
    db: Engine, owner: Session, user_id: str
) -> Iterator[tuple[Connection, Organization, Row[*tuple[Any, ...]]]]:
    """Change a user of the owner's organization, which is locked; NoPerson for any other user."""
    with writing(db) as connection:
        holder = lock_organization_of(connection, owner)
        own = USERS.c.id == clean_text(user_id), USERS.c.organization_id == holder.id
        user = connection.execute(select(USERS).where(*own)).first()
        if user is None:
            raise NoPerson("There is no such user in this organization.")
        yield connection, holder, user


def lock_organization_of(connection: Connection, owner: Session) -> Organization:
    """Lock an owner's organization; NoOwner when that user is no owner of it now."""
    is_owner = USERS.c.id == owner.user_id, USERS.c.role == Role.OWNER.value
    own = select(ORGANIZATIONS.c.id, ORGANIZATIONS.c.name).where(ORGANIZATIONS.c.id == owner.organization_id)
    found = connection.execute(own.with_for_update()).first()
    # A second statement: on PostgreSQL it sees what the one who held the lock has committed.
    if found is None or connection.execute(select(USERS.c.id).where(*is_owner)).first() is None:
        raise NoOwner("You are no owner of this organization any more.")
    return Organization(found.id, found.name)


def _check_owner_stays(connection: Connection, holder: Organization, user: Row[*tuple[Any, ...]]) -> None:
    others = select(func.count()).where(
        USERS.c.organization_id == holder.id,
        USERS.c.role == Role.OWNER.value,
        or_(USERS.c.password_hash != NO_PASSWORD, USERS.c.subject.is_not(None)),
        USERS.c.id != user.id,
    )
    if user.role == Role.OWNER and connection.execute(others).scalar_one() == 0:
        raise UsageError(LAST_OWNER)


def _find_role_problem(role: str) -> list[str]:
    return (
        [] if role in OF_ORGANIZATION else [f"There is no role {role!r} to give: it is {', '.join(OF_ORGANIZATION)}."]
    )


def _make_person(row: Row[*tuple[object, ...]]) -> Person:
    has_password = row.password_hash != NO_PASSWORD
    known = row.id, row.email, Role(row.role), has_password, row.created_at, row.at, row.sessions, row.link_until
    return Person(*known, bool(row.has_factor), parse_channels(row.channels), row.subject is not None)
