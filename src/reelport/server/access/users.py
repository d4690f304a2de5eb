"""Users: people with e-mail address and password, which Argon2id hashes."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import Type
from sqlalchemy import ColumnElement, Connection, Engine, exists, or_, select
from sqlalchemy.exc import IntegrityError

from reelport.errors import UsageError
from reelport.language import _, localize
from reelport.server import credentials
from reelport.server.access import audit_log
from reelport.server.access.audit_log import Action, Actor
from reelport.server.access.organizations import Organization, find_organization, lock_organization
from reelport.server.access.roles import Role, parse_channels, write_channels
from reelport.server.access.withdrawn_links import end_links_of
from reelport.server.state.database import reading, writing
from reelport.server.state.tables import (
    AUTHENTICATORS,
    ORGANIZATIONS,
    PASSKEYS,
    PASSWORD_LINKS,
    REFRESH_TOKENS,
    SESSIONS,
    USERS,
)
from reelport.similar_names import suggest

_EMAIL = re.compile(r"[^\s@,\"<>]{1,64}@[^\s@,\"<>]{1,190}")
"""What is taken for an address: whether mail arrives there is not known, nor needed."""
HAS_FACTOR = or_(*(exists().where(each.c.user_id == USERS.c.id) for each in (AUTHENTICATORS, PASSKEYS)))
"""Whether a user's password alone doesn't sign in, in statements over USERS."""
_NO_LOOK = {"looks_at": None, "looks_until": None, "look_reason": None}
_EPOCH_BITS = 63
"""Bits of a positive number that both databases store."""


@dataclass(frozen=True, slots=True)
class User:
    """A user, without the password. Logins of another `epoch` are invalid.

    `channels` are the ids of those that the user may see; None for all of the organization, later ones too. An operator
    who `may_look` sees the Studio of organizations as their people do; one with a `platform_role` sees the numbers of
    the whole platform, as somebody of that role those of an organization.
    """

    id: str
    organization_id: int | None
    organization: str | None
    email: str
    role: Role
    epoch: int
    created_at: datetime
    channels: frozenset[str] | None = None
    may_look: bool = False
    platform_role: Role | None = None


def normalize_email(given: str) -> str:
    """Return the address as it is stored: in lower case, without blanks around it."""
    text, lower = given.strip(), given.strip().lower()
    # The sign of the kelvin would become the letter k of somebody else's address.
    return text if lower.isascii() and not text.isascii() else lower


def add_user(db: Engine, organization: str | None, email: str, role: str, password: str, now: datetime) -> User:
    """Add a user to an organization, or an operator to none; UsageError lists every problem."""
    address = normalize_email(email)
    wrong = find_email_problems(address)
    if role not in set(Role):
        wrong.append(f"There is no role {role!r}: it is one of {', '.join(Role)}.")
    elif (role == Role.OPERATOR) != (organization is None):
        wrong.append("An operator is of no organization; every other user is of one.")
    if wrong := [*wrong, *find_password_problems(password)]:
        raise UsageError("\n".join(wrong))
    hashed = hash_password(password)
    try:
        with writing(db) as connection:
            holder = None if organization is None else lock_organization(connection, organization)
            new = insert_user(connection, holder, address, Role(role), hashed, now)
            audit_log.record_command(connection, new.organization_id, Action.USER_ADDED, address, {"role": new.role})
            return new
    except IntegrityError:
        # Addresses are unique in the whole service: a sign-in names no organization.
        raise UsageError(f"There is a user {address!r} already.") from None


def insert_user(
    connection: Connection,
    holder: Organization | None,
    address: str,
    role: Role,
    password_hash: str,
    now: datetime,
    channels: frozenset[str] | None = None,
) -> User:
    """Insert a user whose values are checked. IntegrityError when the address is taken."""
    id_, name = (None, None) if holder is None else (holder.id, holder.name)
    new = User(f"rpu_{credentials.short_id()}", id_, name, address, role, _draw_epoch(), now, channels)
    row = {"id": new.id, "organization_id": id_, "email": address, "role": role.value, "epoch": new.epoch}
    row["channels"] = write_channels(channels)
    connection.execute(USERS.insert().values(**row, password_hash=password_hash, created_at=now))
    return new


def list_users(db: Engine, organization: str | None = None) -> tuple[User, ...]:
    """List every user, or those of one organization, by organization and address."""
    found = select(USERS, ORGANIZATIONS.c.name).outerjoin(ORGANIZATIONS).order_by(ORGANIZATIONS.c.name, USERS.c.email)
    with reading(db) as connection:
        if organization is not None:
            found = found.where(USERS.c.organization_id == find_organization(connection, organization).id)
        return tuple(
            User(
                row.id,
                row.organization_id,
                row.name,
                row.email,
                Role(row.role),
                row.epoch,
                row.created_at,
                parse_channels(row.channels),
                bool(row.may_look),
                row.platform_role and Role(row.platform_role),
            )
            for row in connection.execute(found)
        )


def remove_user(db: Engine, email: str) -> int:
    """Remove a user with every login; return how many shared links ended. UsageError for none."""
    now = datetime.now(UTC)
    with writing(db) as connection:
        id_ = find_user_id(connection, email)
        end_looks(connection, now, SESSIONS.c.user_id == id_)
        # Refresh tokens are deleted with their user, also tokens that are being granted now.
        gone = connection.execute(USERS.delete().where(USERS.c.id == id_).returning(USERS.c.organization_id)).first()
        if gone is None:
            return 0
        links = 0
        if gone.organization_id is not None:
            links = end_links_of(connection, gone.organization_id, normalize_email(email), now)
        address, details = normalize_email(email), describe_links(links)
        audit_log.record_command(connection, gone.organization_id, Action.USER_REMOVED, address, details)
        return links


def get_user_id(db: Engine, email: str) -> str:
    """Get a user's id; UsageError, with the nearest address, when there is no such user."""
    with reading(db) as connection:
        return find_user_id(connection, email)


def change_password(db: Engine, email: str, password: str) -> None:
    """Give a user another password, and end every login at once.

    UsageError for no such user, and for one whom a provider signs in.
    """
    if wrong := find_password_problems(password):
        raise UsageError("\n".join(wrong))
    hashed = hash_password(password)
    with writing(db) as connection:
        user = connection.execute(select(USERS).where(USERS.c.id == find_user_id(connection, email))).one()
        if user.subject is not None:
            raise UsageError(f"{user.email} signs in by the provider, and has no password here.")
        end_logins(connection, user.id, hashed)
        audit_log.record_command(connection, user.organization_id, Action.PASSWORD_CHANGED, user.email)


def end_logins(
    connection: Connection, user_id: str, password_hash: str | None = None, *, kept_session: str | None = None
) -> int:
    """End all logins of a user but `kept_session` (id), and links; perhaps set a password.

    Returns the epoch in which later logins are valid.
    """
    epoch = _draw_epoch()
    values = {"epoch": epoch} if password_hash is None else {"epoch": epoch, "password_hash": password_hash}
    # The user first: a transaction that begins a session or grants a token locks the row, and then finds another epoch.
    connection.execute(USERS.update().where(USERS.c.id == user_id).values(values))
    end_looks(connection, datetime.now(UTC), SESSIONS.c.user_id == user_id)
    for table in (REFRESH_TOKENS, PASSWORD_LINKS):
        connection.execute(table.delete().where(table.c.user_id == user_id))
    of_user = SESSIONS.c.user_id == user_id
    if kept_session is None:
        connection.execute(SESSIONS.delete().where(of_user))
        return epoch
    connection.execute(SESSIONS.delete().where(of_user, SESSIONS.c.id != kept_session))
    connection.execute(SESSIONS.update().where(SESSIONS.c.id == kept_session).values(epoch=epoch))
    return epoch


def end_looks(connection: Connection, now: datetime, *which: ColumnElement[bool], actor: Actor | None = None) -> None:
    """End the looks of these sessions, and record in the organizations' logs when each ended.

    By its operator, unless another `actor` ends it.
    """
    looks = (
        select(SESSIONS, USERS.c.email, ORGANIZATIONS.c.name)
        .join(USERS, USERS.c.id == SESSIONS.c.user_id)
        .join(ORGANIZATIONS, ORGANIZATIONS.c.id == SESSIONS.c.looks_at)
    )
    for row in connection.execute(looks.where(*which)).all():
        same = SESSIONS.c.id == row.id, SESSIONS.c.looks_until == row.looks_until
        if connection.execute(SESSIONS.update().where(*same).values(_NO_LOOK)).rowcount:
            by, at = actor or Actor(row.email, row.address), min(now, row.looks_until)
            audit_log.record_action(connection, row.looks_at, by, Action.LOOK_ENDED, row.name, at)


def find_user_id(connection: Connection, email: str) -> str:
    """Find a user's id; UsageError, with the nearest address, when there is no such user."""
    address = normalize_email(email)
    found: str | None = connection.execute(select(USERS.c.id).where(USERS.c.email == address)).scalar()
    if found is not None:
        return found
    known = connection.execute(select(USERS.c.email)).scalars()
    raise UsageError(f"There is no user {address!r}.{suggest(address, sorted(known))}")


def describe_links(ended: int) -> dict[str, object]:
    """Describe for the audit log how many shared links ended with a user."""
    return {"ended_links": ended} if ended else {}


def _draw_epoch() -> int:
    # Random: a counter in a state that was restored from a backup would repeat the epochs of ended logins.
    return secrets.randbits(_EPOCH_BITS)


def find_email_problems(address: str) -> list[str]:
    """List why a text can't be the address of a user; empty when it can."""
    if address.isprintable() and _EMAIL.fullmatch(address):
        return []
    return [_("%(text)s is no e-mail address: it looks like name@example.com.", text=repr(address))]


SHORTEST, LONGEST = 12, 1000
"""Characters of a password."""
NO_PASSWORD = ""
"""Stored in place of a hash for a user who has set no password yet: then no text is right."""

CHECKS_AT_ONCE = 2
"""Passwords that a process checks at the same time: each takes 19 MiB and a core."""
# The least that OWASP's cheat sheet on storing passwords advises: 19 MiB for a check, so that a few at the same time
# need little of an API process's memory.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1, type=Type.ID)


def find_password_problems(password: str) -> list[str]:
    """List why a text can't be a password. No kind of character is asked for."""
    if not SHORTEST <= len(password) <= LONGEST:
        given, most = (localize(f"{number:,}") for number in (len(password), LONGEST))
        sentence = _(
            "A password has %(least)s to %(most)s characters, and not %(given)s.",
            least=SHORTEST,
            most=most,
            given=given,
        )
        return [sentence]
    return [] if password.isprintable() else [_("A password has printable characters alone.")]


def hash_password(password: str) -> str:
    """Hash a password with its own salt, in some 20 ms; the hash names its parameters."""
    return _HASHER.hash(password)


def is_password(given: str, stored: str | None) -> bool:
    """Whether `stored` is the hash of a password; takes as long for NO_PASSWORD and for None."""
    if len(given) > LONGEST:
        return False
    try:
        _HASHER.verify(stored or _hash_nothing(), given.encode("utf-8", "surrogatepass"))
    except (VerificationError, InvalidHashError):
        return False
    return bool(stored)


@cache
def _hash_nothing() -> str:
    return _HASHER.hash("")
