"""Looks: an operator sees an organization's Studio read-only, for half an hour.

An operator holds the right to it by a command alone. A look belongs to one session. It begins with a reason, and both
its begin and its end stand in the organization's own audit log. A session that looks has none of the operator's rights.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine, select

from reelport.errors import UsageError
from reelport.language import _
from reelport.server.access import audit_log
from reelport.server.access.audit_log import Action, Actor
from reelport.server.access.roles import Role
from reelport.server.access.sessions import Session, record_look_end
from reelport.server.access.users import find_user_id
from reelport.server.state.database import write, writing
from reelport.server.state.tables import ORGANIZATIONS, SESSIONS, USERS

LIFE = timedelta(minutes=30)
"""How long a look lasts at most; another one needs a reason again."""
LONGEST_REASON = 300


def allow_looks(db: Engine, email: str, *, allowed: bool) -> None:
    """Give an operator the right to look, or take it; UsageError for anybody else.

    Looks that last end with the right, at once.
    """
    with writing(db) as connection:
        id_ = find_user_id(connection, email)
        user = connection.execute(select(USERS.c.email, USERS.c.role).where(USERS.c.id == id_)).one()
        if user.role != Role.OPERATOR:
            raise UsageError(f"{user.email} is no operator: people of an organization see their own Studio alone.")
        connection.execute(USERS.update().where(USERS.c.id == id_).values(may_look=int(allowed)))
        details = {"may_look": "yes" if allowed else "no"}
        audit_log.record_command(connection, None, Action.LOOK_RIGHT_CHANGED, user.email, details)


def begin_look(db: Engine, session: Session, organization_id: int, reason: str, actor: Actor, now: datetime) -> bool:
    """Let a session look at an organization; False where there is none, or the right is gone.

    UsageError when the reason is empty or too long.
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
        begun = connection.execute(SESSIONS.update().where(SESSIONS.c.id == session.id).values(look)).rowcount
        if begun:
            details = {"until": f"{now + LIFE:%Y-%m-%d %H:%M} UTC", "reason": reason}
            audit_log.record_action(connection, organization_id, actor, Action.LOOK_BEGUN, named, now, details)
        return bool(begun)


def end_look(db: Engine, session: Session, actor: Actor, now: datetime) -> None:
    """End a session's look; does nothing without one."""
    if session.look is None:
        return
    ended = SESSIONS.update().where(SESSIONS.c.id == session.id)

    def end(connection: Connection) -> None:
        connection.execute(ended.values(looks_at=None, looks_until=None, look_reason=None))
        record_look_end(connection, session, actor, now)

    write(db, end)
