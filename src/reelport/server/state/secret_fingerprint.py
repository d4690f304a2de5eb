"""The fingerprint of the service secret in the state: another secret can't start.

Under another secret every existing key would be refused. The fingerprint reveals nothing of the secret.
"""

from __future__ import annotations

from sqlalchemy import Connection, Engine, select

from reelport.errors import UsageError
from reelport.server import credentials
from reelport.server.credentials import ServiceSecret
from reelport.server.settings import Settings
from reelport.server.state.database import reading, writing
from reelport.server.state.state_record import record_state
from reelport.server.state.tables import KEYS, SECRET_FINGERPRINTS

_OTHER = (
    "The keys of this state were made under another secret: they would all be refused. Restore REELPORT_SECRET, or "
    "secret.key in the data directory; or revoke every key, and create new ones."
)


def require_same_secret(db: Engine, settings: Settings) -> ServiceSecret:
    """Load the service secret; UsageError when valid keys were made under another one.

    Stores the secret's fingerprint when the state has none, or one that no key needs any more. A secret is made only
    where the state accepts it.
    """
    if not credentials.has_service_secret(settings):
        with reading(db) as connection:
            if read_fingerprint(connection) is not None and _has_keys(connection):
                raise UsageError(_OTHER)
    own = credentials.load_service_secret(settings)
    with reading(db) as connection:
        is_known = read_fingerprint(connection) == own.fingerprint
    if not is_known:
        with writing(db) as connection:
            if not _is_accepted(connection, own):
                raise UsageError(_OTHER)
            connection.execute(SECRET_FINGERPRINTS.delete())
            connection.execute(SECRET_FINGERPRINTS.insert().values(number=1, fingerprint=own.fingerprint))
    record_state(settings, is_new=False, is_proven=True)
    return own


def describe(db: Engine, service_secret: ServiceSecret | None) -> tuple[bool, str]:
    """Whether this secret (None: not created yet) can serve the state, and a sentence."""
    with reading(db) as connection:
        if not _has_keys(connection):
            return True, "It holds no key yet: the first one is made under the secret of that time."
        if service_secret is not None and _is_accepted(connection, service_secret):
            return True, "Its keys were made under this secret."
    return False, _OTHER


def _is_accepted(connection: Connection, service_secret: ServiceSecret) -> bool:
    """Whether no valid key was made under another secret; without a fingerprint none was."""
    return read_fingerprint(connection) in {None, service_secret.fingerprint} or not _has_keys(connection)


def read_fingerprint(connection: Connection) -> str | None:
    """Read the stored fingerprint; None before the first key."""
    return connection.execute(select(SECRET_FINGERPRINTS.c.fingerprint)).scalar()


def _has_keys(connection: Connection) -> bool:
    # Studio's keys have no secret that was hashed: they are valid under any.
    valid = KEYS.c.revoked_at.is_(None), KEYS.c.secret_hash != ""
    return connection.execute(select(KEYS.c.id).where(*valid).limit(1)).first() is not None
