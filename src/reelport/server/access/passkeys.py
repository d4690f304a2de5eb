"""Passkeys of users (WebAuthn): keys in devices that ask for a finger, a face or a PIN.

A passkey stands for both factors: the user has it, and it has verified the user. It belongs to one host, and signs a
challenge of one of our pages. A challenge is valid for one browser, a few minutes, and one answer.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import urlsplit

import structlog
from sqlalchemy import Connection, Engine, Row, select

from reelport.errors import UsageError
from reelport.language import N_
from reelport.server import credentials
from reelport.server.access.callers import clean_text
from reelport.server.access.login_attempts import use_once
from reelport.server.access.sessions import Halfway
from reelport.server.credentials import ServiceSecret, encode_base64
from reelport.server.state.database import reading, writing
from reelport.server.state.tables import PASSKEYS, USERS

_LOG = structlog.get_logger(__name__)
CHALLENGE_LIFE = timedelta(minutes=5)
MOST = 20
"""Passkeys of one user."""
LONGEST_NAME = 60
_CHALLENGE, _CHALLENGE_BYTES = "rpc", 16
_ALGORITHMS = (-7, -8, -257)
"""ES256, EdDSA and RS256, by their numbers in COSE."""
_LONGEST_CREDENTIAL = 1023
"""Bytes of a credential's id (WebAuthn, section 6.5.1)."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Site:
    """Where passkeys are valid: the origin of our pages, and its host."""

    origin: str
    host: str

    @classmethod
    def of(cls, address: str) -> Site:
        """Make the site of an address that begins with scheme and host."""
        parts = urlsplit(address.lower())
        port = "" if parts.port in {None, {"https": 443, "http": 80}.get(parts.scheme)} else f":{parts.port}"
        host = parts.hostname or ""
        return cls(f"{parts.scheme}://{host}{port}", host)


Passkey = Row[*tuple[Any, ...]]
"""A passkey's row. Its `host` is where it signs in."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A passkey's answer (JSON) to the challenge of a page, and which browser had that page."""

    site: Site
    browser: str
    challenge: str = field(repr=False)
    credential: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Checked:
    """A right answer of a user's passkey, whose use is still to be recorded."""

    user: Halfway
    is_by_provider: bool
    credential_id: str
    sign_count: int
    new_sign_count: int
    challenge: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class NewKey:
    """What a new passkey's row has of its right answer, which is still to be recorded."""

    row: Mapping[str, object]
    challenge: str = field(repr=False)


def make_challenge(service_secret: ServiceSecret, browser: str, now: datetime) -> str:
    """Make a challenge for the pages of one browser."""
    payload = secrets.token_bytes(_CHALLENGE_BYTES)
    return credentials.sign_until(service_secret, _CHALLENGE, payload, now + CHALLENGE_LIFE, browser)


def write_request(site: Site, challenge: str, passkeys: Iterable[Passkey] = ()) -> str:
    """Write the JSON options of navigator.credentials.get; without passkeys any may answer."""
    allowed = [{"type": "public-key", "id": each.credential_id} for each in passkeys]
    options = {"challenge": encode_base64(challenge.encode()), "rpId": site.host, "userVerification": "required"}
    return json.dumps({**options, "allowCredentials": allowed})


def write_creation(site: Site, challenge: str, user_id: str, email: str, passkeys: Iterable[Passkey]) -> str:
    """Write the JSON options of navigator.credentials.create: a device makes one passkey."""
    options = {
        "challenge": encode_base64(challenge.encode()),
        "rp": {"id": site.host, "name": "Reelport"},
        "user": {"id": encode_base64(user_id.encode()), "name": email, "displayName": email},
        "pubKeyCredParams": [{"type": "public-key", "alg": each} for each in _ALGORITHMS],
        "authenticatorSelection": {"residentKey": "required", "requireResidentKey": True}
        | {"userVerification": "required"},
        "attestation": "none",
        "excludeCredentials": [{"type": "public-key", "id": each.credential_id} for each in passkeys],
    }
    return json.dumps(options)


def list_passkeys(connection: Connection, user_id: str) -> Sequence[Passkey]:
    """List a user's passkeys, the oldest first."""
    own = select(PASSKEYS).where(PASSKEYS.c.user_id == user_id).order_by(PASSKEYS.c.created_at, PASSKEYS.c.id)
    return connection.execute(own).all()


def check_answer(db: Engine, service_secret: ServiceSecret, answer: Answer, now: datetime) -> Checked | None:
    """Check the answer of a known passkey to a challenge. None for any other text.

    The first call of a process loads the library, which takes some tenths of a second.
    """
    from webauthn import verify_authentication_response  # noqa: PLC0415 - 29 MB that few processes need
    from webauthn.helpers import base64url_to_bytes, parse_authentication_credential_json  # noqa: PLC0415 - the same

    given = _attempt(lambda: parse_authentication_credential_json(answer.credential))
    if given is None or not _is_valid(service_secret, answer, now):
        return None
    known = select(PASSKEYS, USERS.c.email, USERS.c.epoch, USERS.c.subject).join(USERS)
    with reading(db) as connection:
        row = connection.execute(known.where(PASSKEYS.c.credential_id == clean_text(given.id))).first()
    # No other passkey of the user stands for this one: the device says whose it is.
    if row is None or given.response.user_handle not in {None, row.user_id.encode()}:
        return None
    found = _attempt(
        lambda: verify_authentication_response(
            credential=given,
            expected_challenge=answer.challenge.encode(),
            expected_rp_id=answer.site.host,
            expected_origin=answer.site.origin,
            credential_public_key=base64url_to_bytes(row.public_key),
            credential_current_sign_count=row.sign_count,
            require_user_verification=True,
        )
    )
    if found is None:
        return None
    user, counts = Halfway(row.user_id, row.epoch, row.email), (row.sign_count, found.new_sign_count)
    return Checked(user, row.subject is not None, row.credential_id, *counts, answer.challenge)


def use_answer(connection: Connection, checked: Checked, now: datetime) -> bool:
    """Record the use of an answer; False if challenge or counter was used meanwhile."""
    if not _use_challenge(connection, checked.challenge, now):
        return False
    same = PASSKEYS.c.credential_id == checked.credential_id, PASSKEYS.c.sign_count == checked.sign_count
    used = PASSKEYS.update().where(*same).values(sign_count=checked.new_sign_count, used_at=now)
    return connection.execute(used).rowcount == 1


def check_new(service_secret: ServiceSecret, answer: Answer, now: datetime) -> NewKey | None:
    """Check a new passkey's answer to a challenge. None for any other text."""
    from webauthn import verify_registration_response  # noqa: PLC0415 - as above
    from webauthn.helpers.cose import COSEAlgorithmIdentifier  # noqa: PLC0415 - as above

    if not _is_valid(service_secret, answer, now):
        return None
    found = _attempt(
        lambda: verify_registration_response(
            credential=answer.credential,
            expected_challenge=answer.challenge.encode(),
            expected_rp_id=answer.site.host,
            expected_origin=answer.site.origin,
            require_user_verification=True,
            supported_pub_key_algs=[COSEAlgorithmIdentifier(each) for each in _ALGORITHMS],
        )
    )
    if found is None or len(found.credential_id) > _LONGEST_CREDENTIAL:
        return None
    credential_id, public_key = encode_base64(found.credential_id), encode_base64(found.credential_public_key)
    key = {"credential_id": credential_id, "public_key": public_key, "sign_count": found.sign_count}
    return NewKey({**key, "host": answer.site.host}, answer.challenge)


def insert_passkey(connection: Connection, user_id: str, key: NewKey, name: str, now: datetime) -> bool:
    """Give a user a passkey; False if somebody has it, or the challenge was used meanwhile.

    UsageError for more of them than a user may have.
    """
    if len(list_passkeys(connection, user_id)) >= MOST:
        raise UsageError(N_("You have as many passkeys as one person may have: remove one first."))
    known = select(PASSKEYS.c.id).where(PASSKEYS.c.credential_id == key.row["credential_id"])
    if connection.execute(known).first() is not None or not _use_challenge(connection, key.challenge, now):
        return False
    row = {"id": credentials.short_id(), "user_id": user_id, "name": _clean_name(name), "created_at": now}
    connection.execute(PASSKEYS.insert().values({**key.row, **row}))
    return True


def rename_passkey(db: Engine, user_id: str, passkey_id: str, name: str) -> bool:
    """Give one of a user's passkeys another name; False when there is no such one."""
    own = PASSKEYS.c.user_id == user_id, PASSKEYS.c.id == clean_text(passkey_id)
    renamed = PASSKEYS.update().where(*own).values(name=_clean_name(name))
    with writing(db) as connection:
        return connection.execute(renamed).rowcount == 1


def _clean_name(name: str) -> str:
    return clean_text(name).strip()[:LONGEST_NAME] or "Passkey"


def _is_valid(service_secret: ServiceSecret, answer: Answer, now: datetime) -> bool:
    return credentials.read_until(service_secret, _CHALLENGE, answer.challenge, now, answer.browser) is not None


def _use_challenge(connection: Connection, challenge: str, now: datetime) -> bool:
    return use_once(connection, challenge, 2 * CHALLENGE_LIFE, now)


def _attempt(work: Callable[[], T]) -> T | None:
    """Call what reads a browser's text; None if it raises anything."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - the library raises whatever it stumbles over
        _LOG.info("a passkey was refused", reason=f"{type(error).__name__}: {error}"[:200])
        return None
