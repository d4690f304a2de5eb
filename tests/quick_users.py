"""Users whose password is hashed at the least cost. A hash names its cost, so that their sign-ins are as quick.

What hashes cost and hold that a command or a page makes is tried in `tests/server/access/test_sessions.py`.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache

from argon2 import PasswordHasher
from argon2.low_level import Type
from sqlalchemy import Engine

from reelport.server.access import audit_log
from reelport.server.access.audit_log import Action
from reelport.server.access.organizations import lock_organization
from reelport.server.access.roles import Role
from reelport.server.access.users import User, insert_user
from reelport.server.state.database import writing


def add_user(db: Engine, organization: str | None, email: str, role: str, password: str, now: datetime) -> User:
    """Add a user as `users.add_user` does, whose values it doesn't check."""
    with writing(db) as connection:
        holder = None if organization is None else lock_organization(connection, organization)
        new = insert_user(connection, holder, email, Role(role), _hash_quickly(password), now)
        audit_log.record_command(connection, new.organization_id, Action.USER_ADDED, email, {"role": new.role})
        return new


@cache
def _hash_quickly(password: str) -> str:
    return PasswordHasher(time_cost=1, memory_cost=8, parallelism=1, type=Type.ID).hash(password)
