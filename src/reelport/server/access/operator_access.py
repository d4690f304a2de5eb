"""What operators see of partners: an organization's Studio, the whole platform's numbers.

They hold each right by a command alone. Who looks at an organization sees its Studio read-only, for half an hour. A
look belongs to one session, which has none of the operator's rights meanwhile. It begins with a reason. The
organization's own audit log has its begin and its end: by the operator or the time, with the login or the right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, Engine, select

from reelport.engine.tenant import EveryChannel, Tenant
from reelport.errors import UsageError
from reelport.language import N_, _
from reelport.server.access import audit_log
from reelport.server.access.audit_log import Action, Actor
from reelport.server.access.roles import SCOPES, Role
from reelport.server.access.sessions import Session
from reelport.server.access.users import end_looks, find_user_id
from reelport.server.state.database import reading, writing
from reelport.server.state.tables import ORGANIZATIONS, READABLE, SESSIONS, USERS

LIFE = timedelta(minutes=30)
"""How long a look lasts at most; another one needs a reason again."""
LONGEST_REASON = 300


def allow_looks(db: Engine, email: str, *, allowed: bool) -> None:
    """Give an operator the right to look, or take it; UsageError for anybody else.

    Looks that last end with the right, for good: the right given back needs another reason.
    """
    with writing(db) as connection:
        details = {"may_look": N_("yes") if allowed else N_("no")}
        id_ = _change_right(connection, email, {"may_look": int(allowed)}, Action.LOOK_RIGHT_CHANGED, details)
        if not allowed:
            end_looks(connection, datetime.now(UTC), SESSIONS.c.user_id == id_, actor=Actor.of_command())


def allow_platform(db: Engine, email: str, role: Role | None) -> None:
    """Let an operator see the whole platform's numbers, as a role sees an organization's.

    With None no more. UsageError for anybody else.
    """
    word = None if role is None else role.value
    with writing(db) as connection:
        details = {"is": word or N_("none")}
        _change_right(connection, email, {"platform_role": word}, Action.PLATFORM_RIGHT_CHANGED, details)


def _change_right(
    connection: Connection, email: str, right: Mapping[str, object], action: Action, details: Mapping[str, object]
) -> str:
    """Change a right of an operator, and return the operator's id."""
    of_user = USERS.c.id == find_user_id(connection, email)
    user = connection.execute(select(USERS.c.id, USERS.c.email, USERS.c.role).where(of_user)).one()
    if user.role != Role.OPERATOR:
        raise UsageError(f"{user.email} is no operator: people of an organization see their own Studio alone.")
    connection.execute(USERS.update().where(of_user).values(right))
    audit_log.record_command(connection, None, action, user.email, details)
    return str(user.id)


@dataclass(frozen=True, slots=True)
class Platform:
    """The whole platform, for an operator who may see it now.

    `partners` are the channels that organizations read, each once; `organizations` those of each, by its id and name.
    """

    every_channel: EveryChannel
    partners: Tenant
    organizations: Mapping[tuple[int, str], set[str]]


def find_platform(db: Engine, user_id: str) -> Platform | None:
    """Find what an operator may see of the whole platform; None without the right to it."""
    readable = select(ORGANIZATIONS.c.id, ORGANIZATIONS.c.name, READABLE.c.channel_id).join(READABLE)
    channels: dict[tuple[int, str], set[str]] = {}
    with reading(db) as connection:
        role = connection.execute(select(USERS.c.platform_role).where(USERS.c.id == user_id)).scalar()
        if role is None:
            return None
        for id_, name, channel in connection.execute(readable):
            channels.setdefault((id_, name), set()).add(channel)
    scopes, together = SCOPES[Role(role)], frozenset[str]().union(*channels.values())
    return Platform(EveryChannel(scopes), Tenant(together, scopes), channels)


def begin_look(db: Engine, session: Session, organization_id: int, reason: str, actor: Actor, now: datetime) -> bool:
    """Let a session look at an organization; False where there is none, or the right is gone.

    False, too, for a session that looks already: no look ends unrecorded. UsageError when the reason is empty or too
    long.
    """
    if not 0 < len(reason) <= LONGEST_REASON or not reason.isprintable():
        raise UsageError(_("A reason is one line of 1 to %(most)s characters.", most=LONGEST_REASON))
    with writing(db) as connection:
        may_look = select(USERS.c.may_look).where(USERS.c.id == session.user_id).with_for_update(read=True)
        name = select(ORGANIZATIONS.c.name).where(ORGANIZATIONS.c.id == organization_id).with_for_update(read=True)
        named = connection.execute(name).scalar()
        if named is None or not connection.execute(may_look).scalar():
            return False
        look = {"looks_at": organization_id, "looks_until": now + LIFE, "look_reason": reason}
        end_looks(connection, now, SESSIONS.c.id == session.id, SESSIONS.c.looks_until <= now)
        free = SESSIONS.c.id == session.id, SESSIONS.c.looks_at.is_(None)
        begun = connection.execute(SESSIONS.update().where(*free).values(look)).rowcount
        if begun:
            details = {"until": f"{now + LIFE:%Y-%m-%d %H:%M} UTC", "reason": reason}
            audit_log.record_action(connection, organization_id, actor, Action.LOOK_BEGUN, named, now, details)
        return bool(begun)


def end_look(db: Engine, session: Session, now: datetime) -> None:
    """End a session's look; does nothing without one."""
    with writing(db) as connection:
        end_looks(connection, now, SESSIONS.c.id == session.id)


def end_overdue_looks(db: Engine, now: datetime) -> None:
    """End every look whose time is over."""
    with writing(db) as connection:
        end_looks(connection, now, SESSIONS.c.looks_until <= now)
