"""What users do to their own logins: another password, signing out everywhere."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, Engine, select

from reelport.errors import UsageError
from reelport.server.access import audit_log, passwords
from reelport.server.access.audit_log import Action, Actor
from reelport.server.access.sessions import Session
from reelport.server.access.users import end_logins, list_password_problem
from reelport.server.state.database import reading, write, writing
from reelport.server.state.tables import USERS


def change_own_password(db: Engine, session: Session, current: str, new: str, actor: Actor, now: datetime) -> bool:
    """Change the password of a session's user, and end every other login.

    False when `current` is wrong.
    UsageError says why the new one can't be a password. Hashing takes some 40 ms of CPU.
    """
    if wrong := list_password_problem(new):
        raise UsageError("\n".join(wrong))
    of_user = USERS.c.id == session.user_id
    with reading(db) as connection:
        user = connection.execute(select(USERS.c.password_hash, USERS.c.epoch).where(of_user)).first()
    if user is None or not passwords.is_password(current, user.password_hash):
        return False
    hashed = passwords.hash_password(new)

    def change(connection: Connection) -> bool:
        locked = select(USERS.c.id).where(of_user, USERS.c.epoch == user.epoch).with_for_update()
        if connection.execute(locked).first() is None:
            return False  # all logins ended meanwhile, this session too
        end_logins(connection, session.user_id, hashed, kept_session=session.id)
        audit_log.record_action(connection, session.organization_id, actor, Action.PASSWORD_CHANGED, session.email, now)
        return True

    return write(db, change)


def sign_out_everywhere(db: Engine, session: Session, actor: Actor, now: datetime) -> None:
    """End every session of the session's user, this one too, and every token of public keys."""
    with writing(db) as connection:
        end_logins(connection, session.user_id)
        action = Action.SIGNED_OUT_EVERYWHERE
        audit_log.record_action(connection, session.organization_id, actor, action, session.email, now)
