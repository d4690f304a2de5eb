"""Adds, lists and removes users: people of organizations with e-mail address and password."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import IntegrityError

from reelport.check import nearest
from reelport.errors import UsageError
from reelport.server import credentials
from reelport.server.access import passwords
from reelport.server.access.organizations import find_organization, lock_organization
from reelport.server.state.database import reading, writing
from reelport.server.state.tables import ORGANIZATIONS, REFRESH_TOKENS, USERS

_EMAIL = re.compile(r"[^\s@,\"<>]{1,64}@[^\s@,\"<>]{1,190}")
"""What is taken for an address: whether mail arrives there is not known, nor needed."""
_EPOCH_BITS = 63
"""Bits of a positive number that both databases store."""


class Role(StrEnum):
    """What a user may see and do in Studio; of reports by public keys, the key decides.

    An operator is the platform's, of no organization.
    """

    OWNER = "owner"
    MEMBER = "member"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class User:
    """A user without the password. Nothing that was granted in another `epoch` is valid."""

    id: str
    organization_id: int | None
    organization: str | None
    email: str
    role: Role
    epoch: int
    created_at: datetime


def normalize_email(given: str) -> str:
    """Return the address as it is stored: in lower case, without blanks around it."""
    return given.strip().lower()


def add_user(db: Engine, organization: str | None, email: str, role: str, password: str, now: datetime) -> User:
    """Add a user to an organization, or an operator to none; UsageError lists every problem."""
    address = normalize_email(email)
    wrong = [
        *_find_email_problems(address),
        *_find_role_problems(role, organization),
        *_list_password_problem(password),
    ]
    if wrong:
        raise UsageError("\n".join(wrong))
    hashed = passwords.hash_password(password)
    try:
        with writing(db) as connection:
            return insert_user(connection, organization, address, Role(role), hashed, now)
    except IntegrityError:
        # Addresses are unique in the whole service: a sign-in names no organization.
        raise UsageError(f"There is a user {address!r} already.") from None


def insert_user(
    connection: Connection, organization: str | None, address: str, role: Role, password_hash: str, now: datetime
) -> User:
    """Insert a user whose values are checked. IntegrityError when the address is taken."""
    holder = None if organization is None else lock_organization(connection, organization)
    id_, name = (None, None) if holder is None else (holder.id, holder.name)
    new = User(f"rpu_{credentials.short_id()}", id_, name, address, role, _draw_epoch(), now)
    row = {"id": new.id, "organization_id": id_, "email": address, "role": role.value, "epoch": new.epoch}
    connection.execute(USERS.insert().values(**row, password_hash=password_hash, created_at=now))
    return new


def list_users(db: Engine, organization: str | None = None) -> tuple[User, ...]:
    """List every user, or those of one organization, by organization and address."""
    found = select(USERS, ORGANIZATIONS.c.name).outerjoin(ORGANIZATIONS).order_by(ORGANIZATIONS.c.name, USERS.c.email)
    with reading(db) as connection:
        if organization is not None:
            found = found.where(USERS.c.organization_id == find_organization(connection, organization).id)
        return tuple(
            User(row.id, row.organization_id, row.name, row.email, Role(row.role), row.epoch, row.created_at)
            for row in connection.execute(found)
        )


def remove_user(db: Engine, email: str) -> None:
    """Remove a user, and end every login at once; UsageError when there is none."""
    with writing(db) as connection:
        # The refresh tokens go with the user, those too that are being granted now.
        connection.execute(USERS.delete().where(USERS.c.id == _find_id(connection, email)))


def check_exists(db: Engine, email: str) -> None:
    """Raise UsageError, with the nearest address, when there is no such user."""
    with reading(db) as connection:
        _find_id(connection, email)


def change_password(db: Engine, email: str, password: str) -> None:
    """Give a user another password, and end every login at once; UsageError for no such user."""
    wrong = _list_password_problem(password)
    if wrong:
        raise UsageError("\n".join(wrong))
    hashed = passwords.hash_password(password)
    with writing(db) as connection:
        id_ = _find_id(connection, email)
        connection.execute(USERS.update().where(USERS.c.id == id_).values(password_hash=hashed, epoch=_draw_epoch()))
        connection.execute(REFRESH_TOKENS.delete().where(REFRESH_TOKENS.c.user_id == id_))


def _find_id(connection: Connection, email: str) -> str:
    address = normalize_email(email)
    found: str | None = connection.execute(select(USERS.c.id).where(USERS.c.email == address)).scalar()
    if found is not None:
        return found
    near = nearest(address, connection.execute(select(USERS.c.email)).scalars().all())
    raise UsageError(f"There is no user {address!r}.{f' Did you mean {near}?' if near else ''}")


def _draw_epoch() -> int:
    # No count: in a state that was restored from a backup, it would come to the numbers of ended logins again.
    return secrets.randbits(_EPOCH_BITS)


def _find_email_problems(address: str) -> list[str]:
    if address.isprintable() and _EMAIL.fullmatch(address):
        return []
    return [f"{address!r} is no e-mail address: it looks like name@example.com."]


def _find_role_problems(role: str, organization: str | None) -> list[str]:
    if role not in set(Role):
        return [f"There is no role {role!r}: it is one of {', '.join(Role)}."]
    if (role == Role.OPERATOR) != (organization is None):
        return ["An operator is of no organization; every other user is of one."]
    return []


def _list_password_problem(password: str) -> list[str]:
    problem = passwords.find_password_problem(password)
    return [] if problem is None else [problem]
