"""Sessions of users in browsers: begins one by password, finds its user, ends it.

The cookie holds a signed random token; the state holds its hash. A user changes the own password here too, and signs
out everywhere.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Row, delete, or_, select

from reelport.errors import UsageError
from reelport.language import N_, _
from reelport.server import credentials
from reelport.server.access import audit_log, users
from reelport.server.access.audit_log import Action, Actor
from reelport.server.access.callers import SQL, clean_text
from reelport.server.access.grants import Password
from reelport.server.access.login_attempts import use_once
from reelport.server.access.roles import Reach, Role
from reelport.server.access.users import end_logins, find_password_problems, is_password
from reelport.server.credentials import ServiceSecret
from reelport.server.state.database import reading, writing
from reelport.server.state.tables import ORGANIZATIONS, SESSIONS, USERS

_PREFIX, _HALFWAY = "rpw", "rph"
HALFWAY_LIFE = timedelta(minutes=10)
"""How long after the first factor the second one may come."""
_PURPOSE = "session"
_TOKEN_BYTES = 24
_SEEN_STEP = timedelta(minutes=5)
"""How often the use of a session is written at most."""
UNUSED_LIFE = timedelta(hours=12)
"""How long a session lives without being used: a working day."""
_LONGEST_LIFE = timedelta(days=14)
"""After so long a user signs in again, however much the session is used."""
_LONGEST_LIFE_BY_PROVIDER = timedelta(hours=12)
"""A working day: then the provider is asked again whether the user has access still, and which role."""
BY_PROVIDER: Mapping[str, object] = {"by": N_("the provider")}
"""For the audit log: an OpenID Connect provider said so."""
_SESSIONS_KEPT = 50
"""Sessions of one user; the oldest go first."""
_FAILURE_STEP = timedelta(minutes=1)
"""Failed attempts at one user's password that come within this time are one row of the audit log."""


@dataclass(frozen=True, slots=True)
class Look:
    """An operator's look at an organization: until when, and why."""

    until: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in user. `organization_id` and `organization` are None for an operator.

    While an operator looks at an organization, they and `reach` are those of the `look`.
    """

    id: str
    user_id: str
    email: str
    role: Role
    organization_id: int | None
    organization: str | None
    created_at: datetime
    seen_at: datetime
    expires_at: datetime
    address: str
    agent: str
    language: str | None = None
    """The code of the language that the user chose; None for the browser's."""
    reach: Reach | None = None
    """What the user may see; None for an operator."""
    has_factor: bool = False
    """Whether a second factor guards the account."""
    is_by_provider: bool = False
    """Whether an OpenID Connect provider signs the user in, and no password."""
    may_look: bool = False
    """Whether an operator may look at organizations."""
    platform_role: Role | None = None
    """As which role an operator sees the numbers of the whole platform; None: as none."""
    look: Look | None = None
    token: str = field(repr=False, default="")
    """The cookie's; empty in lists."""


@dataclass(frozen=True, slots=True)
class Browser:
    """Where a session is used: network address, and what the browser calls itself."""

    address: str
    agent: str


_LONGEST_BROWSER = 60
# What stands in a browser's text, and its name: the first that is found counts, as most name others too.
_BROWSERS = (
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("CriOS/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


def describe_browser(agent: str) -> str:
    """Name browser and system, as `Firefox on Linux`; else what it calls itself, cut short."""
    name = next((name for sign, name in _BROWSERS if sign in agent), None)
    system = next((name for sign, name in _SYSTEMS if sign in agent), None)
    if name is None:
        return agent[:_LONGEST_BROWSER] or _("unknown")
    return _("%(browser)s on %(system)s", browser=name, system=system) if system else name


@dataclass(frozen=True, slots=True)
class Halfway:
    """A user whose first factor was right, and the epoch of that moment."""

    user_id: str
    epoch: int
    email: str


def sign_halfway(service_secret: ServiceSecret, halfway: Halfway, now: datetime) -> str:
    """Sign what a browser keeps between the two factors: it is valid for ten minutes."""
    payload = f"{halfway.user_id}\n{halfway.epoch}\n{halfway.email}".encode()
    return credentials.sign_until(service_secret, _HALFWAY, payload, now + HALFWAY_LIFE)


def read_halfway(service_secret: ServiceSecret, token: str, now: datetime) -> Halfway | None:
    """Read it; None when it is wrong or too old."""
    payload = credentials.read_until(service_secret, _HALFWAY, token, now)
    if payload is None:
        return None
    user_id, epoch, email = payload.decode().split("\n")
    return Halfway(user_id, int(epoch), email)


def begin_session(
    db: Engine, service_secret: ServiceSecret, password: Password, browser: Browser, now: datetime
) -> Session | Halfway | None:
    """Begin a session by e-mail address and password; None when one of them is wrong.

    Which of the two isn't told. Halfway for a user who has a second factor. Hashing takes some 20 ms of CPU, for an
    unknown address too.
    """
    with reading(db) as connection:
        user = SQL.run(connection, "user", {"email": password.stored_email}).first()
    is_right = is_password(password.text, user.password_hash if user else None)
    if user is None or not is_right:
        return None
    halfway = Halfway(user.id, user.epoch, password.stored_email)
    if user.factors:
        return halfway
    with writing(db) as connection:
        return insert_session(connection, service_secret, halfway, browser, now)


def insert_session(
    connection: Connection,
    service_secret: ServiceSecret,
    user: Halfway,
    browser: Browser,
    now: datetime,
    details: Mapping[str, object] | None = None,
    *,
    earlier: Session | None = None,
) -> Session | None:
    """Begin the session of a user who has shown every factor, with a new token.

    None when the user's logins have ended since the first one. In place of an `earlier` one that a provider began, it
    is as old: no change of the account puts off that the provider is asked again.
    """
    locked = select(USERS.c.organization_id).where(USERS.c.id == user.user_id, USERS.c.epoch == user.epoch)
    found = connection.execute(locked.with_for_update(read=True, key_share=True)).first()
    if found is None:
        return None  # removed, or given another password, meanwhile
    is_by_provider = earlier is not None and earlier.is_by_provider
    begun = earlier.created_at if earlier is not None and is_by_provider else now
    token = credentials.sign(service_secret, _PREFIX, secrets.token_bytes(_TOKEN_BYTES))
    token_hash = service_secret.hash(_PURPOSE, token)
    connection.execute(
        SESSIONS.insert().values(
            token_hash=token_hash,
            id=credentials.short_id(),
            user_id=user.user_id,
            epoch=user.epoch,
            created_at=begun,
            seen_at=now,
            expires_at=_find_end(begun, now, is_by_provider=is_by_provider),
            address=browser.address,
            agent=clean_text(browser.agent)[:200],
        )
    )
    _delete_old_sessions(connection, user.user_id, now)
    actor = Actor(user.email, browser.address)
    audit_log.record_action(connection, found.organization_id, actor, Action.SIGNED_IN, user.email, now, details)
    return _find(connection, token_hash, token, now)


def _find_end(begun: datetime, now: datetime, *, is_by_provider: bool) -> datetime:
    return min(now + UNUSED_LIFE, begun + (_LONGEST_LIFE_BY_PROVIDER if is_by_provider else _LONGEST_LIFE))


def record_failure(db: Engine, password: Password, browser: Browser, now: datetime) -> None:
    """Record a wrong password or code, once a minute for a user.

    Guesses must not fill the disk. Of an address that no user has, nothing is recorded. Call it when the answer is
    sent: how long that takes must not tell which addresses are known.
    """
    email = password.stored_email
    with reading(db) as connection:
        user = SQL.run(connection, "user", {"email": email}).first()
    if user is not None:
        with writing(db) as connection:
            insert_failure(connection, user.organization_id, Actor(email, browser.address), now)


def insert_failure(
    connection: Connection,
    organization_id: int | None,
    actor: Actor,
    now: datetime,
    details: Mapping[str, object] | None = None,
) -> None:
    """Record that a user failed to sign in, unless the minute has such a row already."""
    if use_once(connection, f"failed to sign in\n{organization_id}\n{actor.name}", _FAILURE_STEP, now):
        audit_log.record_action(connection, organization_id, actor, Action.SIGN_IN_FAILED, actor.name, now, details)


def find_session(db: Engine, service_secret: ServiceSecret, token: str, now: datetime) -> Session | None:
    """Find a cookie's session; None when it is unknown or expired, or its user's logins ended."""
    if credentials.read_signed(service_secret, _PREFIX, token) is None:
        return None
    with reading(db) as connection:
        return _find(connection, service_secret.hash(_PURPOSE, token), token, now)


def is_renewal_due(session: Session, now: datetime) -> bool:
    """Whether `renew_session` has something to write."""
    return now - session.seen_at >= _SEEN_STEP


def renew_session(db: Engine, session: Session, browser: Browser, now: datetime) -> None:
    """Note that a session is used, and move its end on."""
    until = _find_end(session.created_at, now, is_by_provider=session.is_by_provider)
    used = {"seen_at": now, "expires_at": until, "address": browser.address}
    renewed = SESSIONS.update().where(SESSIONS.c.id == session.id).values(used)
    with writing(db) as connection:
        connection.execute(renewed)


def end_session(db: Engine, session: Session, actor: Actor, now: datetime) -> None:
    """End a session: its cookie signs nobody in any more."""
    with writing(db) as connection:
        users.end_looks(connection, now, SESSIONS.c.id == session.id)
        connection.execute(delete(SESSIONS).where(SESSIONS.c.id == session.id))
        whose = None if session.look else session.organization_id
        audit_log.record_action(connection, whose, actor, Action.SIGNED_OUT, session.email, now)


def list_sessions(db: Engine, user_id: str, now: datetime) -> tuple[Session, ...]:
    """List a user's sessions, the last used first."""
    with reading(db) as connection:
        rows = connection.execute(
            _SELECT.where(SESSIONS.c.user_id == user_id, SESSIONS.c.expires_at > now).order_by(
                SESSIONS.c.seen_at.desc()
            )
        )
        return tuple(_make_session(row, now) for row in rows)


_LOOKED_AT = ORGANIZATIONS.alias()
_SELECT = (
    select(
        SESSIONS,
        USERS.c.email,
        USERS.c.role,
        USERS.c.channels,
        USERS.c.language,
        USERS.c.subject,
        USERS.c.may_look,
        USERS.c.platform_role,
        users.HAS_FACTOR.label("has_factor"),
        USERS.c.organization_id,
        ORGANIZATIONS.c.name,
        _LOOKED_AT.c.name.label("looked_at"),
    )
    .join(USERS, (USERS.c.id == SESSIONS.c.user_id) & (USERS.c.epoch == SESSIONS.c.epoch))
    .outerjoin(ORGANIZATIONS, ORGANIZATIONS.c.id == USERS.c.organization_id)
    .outerjoin(_LOOKED_AT, _LOOKED_AT.c.id == SESSIONS.c.looks_at)
)


def _find(connection: Connection, token_hash: str, token: str, now: datetime) -> Session | None:
    row = connection.execute(_SELECT.where(SESSIONS.c.token_hash == token_hash, SESSIONS.c.expires_at > now)).first()
    return None if row is None else _make_session(row, now, token)


def _make_session(row: Row[*tuple[Any, ...]], now: datetime, token: str = "") -> Session:
    role, organization_id, name = Role(row.role), row.organization_id, row.name
    look, reach = None, None if organization_id is None else Reach.of(organization_id, role, row.channels)
    if row.may_look and row.looked_at is not None and row.looks_until > now:
        organization_id, name = row.looks_at, row.looked_at
        # What a viewer sees of it: numbers and reports, without the right to ask for any.
        look, reach = Look(row.looks_until, row.look_reason), Reach.of(organization_id, Role.VIEWER, None)
    return Session(
        row.id,
        row.user_id,
        row.email,
        role,
        organization_id,
        name,
        row.created_at,
        row.seen_at,
        row.expires_at,
        row.address,
        row.agent,
        row.language,
        reach,
        bool(row.has_factor),
        row.subject is not None,
        bool(row.may_look),
        row.platform_role and Role(row.platform_role),
        look,
        token,
    )


def _delete_old_sessions(connection: Connection, user_id: str, now: datetime) -> None:
    of_user = SESSIONS.c.user_id == user_id
    by_age = select(SESSIONS.c.token_hash).where(of_user).order_by(SESSIONS.c.created_at.desc()).offset(_SESSIONS_KEPT)
    old = connection.execute(by_age).scalars().all()
    gone = of_user, or_(SESSIONS.c.expires_at <= now, SESSIONS.c.token_hash.in_(old))
    users.end_looks(connection, now, *gone)
    connection.execute(delete(SESSIONS).where(*gone))


def change_own_password(db: Engine, session: Session, current: str, new: str, actor: Actor, now: datetime) -> bool:
    """Change the password of a session's user, and end every other login.

    False when `current` is wrong. UsageError says why the new one can't be a password.
    """
    if wrong := find_password_problems(new):
        raise UsageError("\n".join(wrong))
    of_user = USERS.c.id == session.user_id
    with reading(db) as connection:
        user = connection.execute(select(USERS.c.password_hash, USERS.c.epoch).where(of_user)).first()
    if user is None or not users.is_password(current, user.password_hash):
        return False
    hashed = users.hash_password(new)
    with writing(db) as connection:
        locked = select(USERS.c.id).where(of_user, USERS.c.epoch == user.epoch).with_for_update()
        if connection.execute(locked).first() is None:
            return False  # all logins ended meanwhile, this session too
        end_logins(connection, session.user_id, hashed, kept_session=session.id)
        audit_log.record_action(connection, session.organization_id, actor, Action.PASSWORD_CHANGED, session.email, now)
        return True


def choose_language(db: Engine, session: Session, code: str | None) -> None:
    """Write the pages of a session's user in this language; None for that of the browser."""
    changed = USERS.update().where(USERS.c.id == session.user_id).values(language=code)
    with writing(db) as connection:
        connection.execute(changed)


def sign_out_everywhere(db: Engine, session: Session, actor: Actor, now: datetime) -> None:
    """End every session of the session's user, this one too, and every token of public keys."""
    with writing(db) as connection:
        end_logins(connection, session.user_id)
        action = Action.SIGNED_OUT_EVERYWHERE
        audit_log.record_action(connection, session.organization_id, actor, action, session.email, now)
