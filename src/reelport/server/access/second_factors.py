"""Second factors: codes of authenticators (TOTP, RFC 6238), passkeys, recovery codes.

An authenticator's secret is made of a random seed, which the state holds, and of the service's secret: a copy of the
state alone makes no code. A code counts once, and no earlier one after it. A recovery code is deleted by its use; the
state holds a keyed hash of it.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from urllib.parse import quote

from sqlalchemy import Connection, Engine, func, select

from reelport.errors import UsageError
from reelport.language import N_
from reelport.server import credentials
from reelport.server.access import audit_log, passkeys, sessions, users
from reelport.server.access.audit_log import Action, Actor
from reelport.server.access.callers import clean_text
from reelport.server.access.passkeys import Answer, Checked, Passkey
from reelport.server.access.people import NoPerson, changing
from reelport.server.access.roles import Role
from reelport.server.access.sessions import Browser, Session
from reelport.server.credentials import ServiceSecret
from reelport.server.state.database import reading, writing
from reelport.server.state.tables import AUDIT_LOG, AUTHENTICATORS, PASSKEYS, RECOVERY_CODES, USERS

_OWNERS_FACTORS = N_(
    "Only the operator of the platform resets the second factor of somebody who is an owner, or was one: by the "
    "command reelport user factors."
)
_OLD_SIGN_IN = N_("You signed in more than ten minutes ago: sign out, sign in again, and then add it.")
_NEW = timedelta(minutes=10)
ISSUER = "Reelport"
STEP_SECONDS, DIGITS = 30, 6
_DRIFT = 1
"""Steps that a telephone's clock may differ from ours."""
_SECRET_BYTES = 20
_AUTHENTICATOR, _RECOVERY = "authenticator", "recovery code"
_OFFER = "rpo"
_RECOVERY_CODES, _RECOVERY_LETTERS, _RECOVERY_GROUP = 10, 16, 4
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
"""Letters and digits of recovery codes, 5 bits each: none that is easily read as another."""


Added = tuple[Session, tuple[str, ...]]
"""The session that begins when a factor is added, and the recovery codes, which are known only then."""


class Factor(StrEnum):
    """What a second factor was: as the audit log tells it."""

    CODE = N_("a code")
    RECOVERY_CODE = N_("a recovery code")
    PASSKEY = N_("a passkey")


@dataclass(frozen=True, slots=True)
class Offer:
    """An authenticator that a user may add: the secret to put into a telephone.

    `token` names it to `add_authenticator`, for the same session alone. It does not hold the secret.
    """

    token: str = field(repr=False)
    secret: str = field(repr=False)
    address: str = field(repr=False)

    @property
    def groups(self) -> str:
        """The secret in groups of four letters, to be typed."""
        return " ".join(re.findall("....", self.secret))


@dataclass(frozen=True, slots=True)
class Factors:
    """When an authenticator was added (None without), recovery codes left, and passkeys."""

    added_at: datetime | None
    recovery_codes: int
    passkeys: Sequence[Passkey]

    @property
    def exist(self) -> bool:
        """Whether the password alone doesn't sign in."""
        return self.added_at is not None or bool(self.passkeys)


def offer_authenticator(service_secret: ServiceSecret, session: Session, token: str = "") -> Offer:
    """Offer a new authenticator to a session's user, or the one that `token` names."""
    seed = credentials.read_signed(service_secret, _OFFER, token, session.id) or secrets.token_bytes(_SECRET_BYTES)
    text = base64.b32encode(derive_secret(service_secret, seed)).decode()
    label = quote(f"{ISSUER}:{session.email}", safe="@:")
    address = (
        f"otpauth://totp/{label}?secret={text}&issuer={ISSUER}&algorithm=SHA1&digits={DIGITS}&period={STEP_SECONDS}"
    )
    return Offer(credentials.sign(service_secret, _OFFER, seed, session.id), text, address)


def derive_secret(service_secret: ServiceSecret, seed: bytes) -> bytes:
    """Derive an authenticator's secret, 20 bytes, from its seed."""
    return service_secret.digest(_AUTHENTICATOR, seed)[:_SECRET_BYTES]


def compute_code(secret: bytes, step: int) -> str:
    """Compute the code of a step of 30 seconds since 1970 (RFC 4226, section 5.3)."""
    digest = hmac.digest(secret, step.to_bytes(8), "sha1")
    place = digest[-1] & 15
    number = int.from_bytes(digest[place : place + 4]) & 0x7FFF_FFFF
    return f"{number % 10**DIGITS:0{DIGITS}}"


def find_step(secret: bytes, code: str, now: datetime, after: int) -> int | None:
    """Find the step later than `after` and near to now whose code this is."""
    current = int(now.timestamp()) // STEP_SECONDS
    near = range(current - _DRIFT, current + _DRIFT + 1)
    # Each is compared: how long that takes doesn't tell which one it was.
    found = [step for step in near if hmac.compare_digest(compute_code(secret, step).encode(), code.encode())]
    return next((step for step in found if step > after), None)


def read_factors(db: Engine, user_id: str) -> Factors:
    """Read which second factors a user has."""
    added = select(AUTHENTICATORS.c.created_at).where(AUTHENTICATORS.c.user_id == user_id)
    left = select(func.count()).where(RECOVERY_CODES.c.user_id == user_id)
    with reading(db) as connection:
        codes = connection.execute(left).scalar_one()
        return Factors(connection.execute(added).scalar(), codes, passkeys.list_passkeys(connection, user_id))


def use_code(
    connection: Connection, service_secret: ServiceSecret, user_id: str, given: str | Checked, now: datetime
) -> Factor | None:
    """Use up an authenticator's code, a recovery code, or a passkey's answer; None for others.

    The user stays locked: of two who use codes at the same moment one sees what the other has changed.
    """
    # The user before the factors, as where a user is removed with them.
    connection.execute(select(USERS.c.id).where(USERS.c.id == user_id).with_for_update(key_share=True))
    if isinstance(given, Checked):
        is_own = given.user.user_id == user_id and passkeys.use_answer(connection, given, now)
        return Factor.PASSKEY if is_own else None
    code = re.sub(r"[\s-]", "", clean_text(given)).lower()
    if not re.fullmatch(rf"[0-9]{{{DIGITS}}}", code):
        own = RECOVERY_CODES.c.user_id == user_id, RECOVERY_CODES.c.code_hash == _hash(service_secret, user_id, code)
        return Factor.RECOVERY_CODE if connection.execute(RECOVERY_CODES.delete().where(*own)).rowcount else None
    own_authenticator = AUTHENTICATORS.c.user_id == user_id
    row = connection.execute(select(AUTHENTICATORS).where(own_authenticator).with_for_update()).first()
    if row is None:
        return None
    step = find_step(derive_secret(service_secret, bytes.fromhex(row.seed)), code, now, row.last_step)
    if step is None:
        return None
    connection.execute(AUTHENTICATORS.update().where(own_authenticator).values(last_step=step))
    return Factor.CODE


def finish_session(
    db: Engine,
    service_secret: ServiceSecret,
    halfway: sessions.Halfway,
    code: str | Checked,
    browser: Browser,
    now: datetime,
) -> Session | None:
    """Begin a session after a right password, by a code or passkey; None if it is wrong."""
    with writing(db) as connection:
        factor = use_code(connection, service_secret, halfway.user_id, code, now)
        if factor is None:
            return None
        details = {"by": factor.value}
        return sessions.insert_session(connection, service_secret, halfway, browser, now, details)


def add_authenticator(
    db: Engine,
    service_secret: ServiceSecret,
    session: Session,
    offer: str,
    password: str,
    code: str,
    browser: Browser,
    now: datetime,
) -> Added | None:
    """Add an offered authenticator; None if password or code is wrong, or the user has one.

    Ends every login of the user, and begins a session in place of this one. Hashing takes some 20 ms of CPU.
    """
    seed = credentials.read_signed(service_secret, _OFFER, offer, session.id)
    step = None if seed is None else find_step(derive_secret(service_secret, seed), _read_digits(code), now, 0)

    def insert(connection: Connection) -> bool:
        own = select(AUTHENTICATORS.c.user_id).where(AUTHENTICATORS.c.user_id == session.user_id)
        if seed is None or step is None or connection.execute(own).first() is not None:
            return False
        row = {"user_id": session.user_id, "seed": seed.hex(), "created_at": now, "last_step": step}
        connection.execute(AUTHENTICATORS.insert().values(**row))
        return True

    return _add_factor(db, service_secret, session, password, insert, Action.AUTHENTICATOR_ADDED, browser, now)


def add_passkey(
    db: Engine,
    service_secret: ServiceSecret,
    session: Session,
    answer: Answer,
    password: str,
    name: str,
    browser: Browser,
    now: datetime,
) -> Added | None:
    """Add a passkey, as `add_authenticator` does; None if the password or the answer is wrong."""

    def insert(connection: Connection) -> bool:
        return key is not None and passkeys.insert_passkey(connection, session.user_id, key, name, now)

    key = passkeys.check_new(service_secret, answer, now)
    return _add_factor(db, service_secret, session, password, insert, Action.PASSKEY_ADDED, browser, now)


def _add_factor(
    db: Engine,
    service_secret: ServiceSecret,
    session: Session,
    password: str,
    insert: Callable[[Connection], bool],
    action: Action,
    browser: Browser,
    now: datetime,
) -> Added | None:
    # Whom a provider signs in has no password: then the sign-in must be new, else a stolen session would be enough.
    if session.is_by_provider and now - session.created_at > _NEW:
        raise UsageError(_OLD_SIGN_IN)
    of_user = USERS.c.id == session.user_id
    with reading(db) as connection:
        user = connection.execute(select(USERS.c.password_hash, USERS.c.epoch).where(of_user)).first()
    if user is None or not (session.is_by_provider or users.is_password(password, user.password_hash)):
        return None
    with writing(db) as connection:
        locked = select(USERS.c.id).where(of_user, USERS.c.epoch == user.epoch).with_for_update()
        if connection.execute(locked).first() is None:
            return None  # all logins ended meanwhile
        is_first = not has_factor(connection, session.user_id)
        if not insert(connection):
            return None
        codes = _replace_recovery_codes(connection, service_secret, session.user_id, now) if is_first else ()
        epoch = users.end_logins(connection, session.user_id)
        actor, halfway = Actor(session.email, browser.address), sessions.Halfway(session.user_id, epoch, session.email)
        audit_log.record_action(connection, session.organization_id, actor, action, session.email, now)
        begun = sessions.insert_session(connection, service_secret, halfway, browser, now, earlier=session)
        return None if begun is None else (begun, codes)


def begin_session_by_passkey(
    db: Engine, service_secret: ServiceSecret, checked: Checked, browser: Browser, now: datetime
) -> Session | None:
    """Begin the session of a passkey's user; None if its answer was used already.

    None, too, for a user whom a provider signs in: the provider must say first that the user has access still.
    """
    return None if checked.is_by_provider else finish_session(db, service_secret, checked.user, checked, browser, now)


def remove_factor(
    db: Engine,
    service_secret: ServiceSecret,
    session: Session,
    code: str | Checked,
    actor: Actor,
    now: datetime,
    *,
    passkey_id: str | None = None,
) -> bool:
    """Remove a passkey, or with None the authenticator; of a last factor recovery codes, too.

    False for a wrong code, and where there is no such passkey.
    """
    factor, action = (
        AUTHENTICATORS.delete().where(AUTHENTICATORS.c.user_id == session.user_id),
        Action.AUTHENTICATOR_REMOVED,
    )
    if passkey_id is not None:
        own = PASSKEYS.c.user_id == session.user_id, PASSKEYS.c.id == clean_text(passkey_id)
        factor, action = PASSKEYS.delete().where(*own), Action.PASSKEY_REMOVED
    with writing(db) as connection:
        if use_code(connection, service_secret, session.user_id, code, now) is None:
            return False
        if not connection.execute(factor).rowcount:
            return False
        if not has_factor(connection, session.user_id):
            delete_factors(connection, session.user_id)
        audit_log.record_action(connection, session.organization_id, actor, action, session.email, now)
        return True


def has_factor(connection: Connection, user_id: str) -> bool:
    """Whether a user has an authenticator or a passkey."""
    return bool(connection.execute(select(users.HAS_FACTOR).where(USERS.c.id == user_id)).scalar())


def make_recovery_codes(
    db: Engine, service_secret: ServiceSecret, session: Session, code: str | Checked, actor: Actor, now: datetime
) -> tuple[str, ...] | None:
    """Make recovery codes in place of the earlier ones, known only now; None for a wrong code."""
    with writing(db) as connection:
        if use_code(connection, service_secret, session.user_id, code, now) is None:
            return None
        action = Action.RECOVERY_CODES_MADE
        audit_log.record_action(connection, session.organization_id, actor, action, session.email, now)
        return _replace_recovery_codes(connection, service_secret, session.user_id, now)


def reset_factors(db: Engine, owner: Session, user_id: str, actor: Actor, now: datetime) -> None:
    """Remove the second factors of another user of an owner's organization.

    Not the owner's own: a stolen session must not be enough to be rid of them. UsageError for whoever is an owner, or
    was one: else an owner could sign in as another one, by a link for a password, and act in that name.
    """
    with changing(db, owner, user_id) as (connection, holder, user):
        if user.id == owner.user_id:
            raise NoPerson("Nobody resets the own second factors.")
        if user.role == Role.OWNER or _was_owner(connection, holder.id, user.email):
            raise UsageError(_OWNERS_FACTORS)
        if delete_factors(connection, user.id):
            audit_log.record_action(connection, holder.id, actor, Action.FACTORS_RESET, user.email, now)


def _was_owner(connection: Connection, organization_id: int, email: str) -> bool:
    """Whether the log tells that somebody was made something less than an owner."""
    log = AUDIT_LOG.c
    changed = log.organization_id == organization_id, log.action == Action.ROLE_CHANGED.value, log.subject == email
    was_owner = select(log.number).where(*changed, log.details.contains('"was": "owner"')).limit(1)
    return connection.execute(was_owner).first() is not None


def reset_factors_by_command(db: Engine, email: str) -> bool:
    """Remove a user's second factors; False if there are none. UsageError for no such user."""
    with writing(db) as connection:
        user_id = users.find_user_id(connection, email)
        had_some = delete_factors(connection, user_id)
        if had_some:
            organization_id = connection.execute(select(USERS.c.organization_id).where(USERS.c.id == user_id)).scalar()
            address, action = users.normalize_email(email), Action.FACTORS_RESET
            audit_log.record_command(connection, organization_id, action, address)
        return had_some


def delete_factors(connection: Connection, user_id: str) -> bool:
    """Delete a user's authenticator, passkeys and recovery codes. Whether there was any."""
    tables = AUTHENTICATORS, PASSKEYS, RECOVERY_CODES
    deleted = [connection.execute(table.delete().where(table.c.user_id == user_id)).rowcount for table in tables]
    return any(deleted)


def _replace_recovery_codes(
    connection: Connection, service_secret: ServiceSecret, user_id: str, now: datetime
) -> tuple[str, ...]:
    codes = ["".join(secrets.choice(_ALPHABET) for _ in range(_RECOVERY_LETTERS)) for _ in range(_RECOVERY_CODES)]
    connection.execute(RECOVERY_CODES.delete().where(RECOVERY_CODES.c.user_id == user_id))
    row = {"user_id": user_id, "created_at": now}
    rows = [{**row, "code_hash": _hash(service_secret, user_id, code)} for code in codes]
    connection.execute(RECOVERY_CODES.insert(), rows)
    return tuple(_write_groups(code) for code in codes)


def _write_groups(code: str) -> str:
    return "-".join(re.findall(f".{{{_RECOVERY_GROUP}}}", code))


def _read_digits(code: str) -> str:
    return re.sub(r"[\s-]", "", clean_text(code))


def _hash(service_secret: ServiceSecret, user_id: str, code: str) -> str:
    return service_secret.hash(_RECOVERY, f"{user_id}\n{code}")
