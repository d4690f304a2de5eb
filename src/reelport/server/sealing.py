"""The secret and the state belong together: keys that were made under another secret would all be refused.

So a state bears a mark of its secret, and is not served with another one. It tells nothing of the secret itself.
"""

from __future__ import annotations

from sqlalchemy import Connection, Engine, select

from reelport.errors import UsageError
from reelport.server import credentials
from reelport.server.credentials import Seal
from reelport.server.database import reading, writing
from reelport.server.settings import Settings
from reelport.server.tables import KEYS, SEALS

_OTHER = (
    "The keys of this state were made under another secret: they would all be refused. Bring back REELPORT_SECRET, or "
    "secret.key in the data directory, as it was; or revoke every key, and make them anew."
)


def sealed(db: Engine, settings: Settings) -> Seal:
    """The seal of this service; UsageError when keys of the state that still count were made under another secret."""
    own = credentials.seal(settings)
    if not fits(db, own):
        with writing(db) as connection:
            if _mark(connection) is not None and _has_keys(connection):
                raise UsageError(_OTHER)
            connection.execute(SEALS.delete())
            connection.execute(SEALS.insert().values(number=1, mark=own.mark))
    return own


def fits(db: Engine, seal: Seal) -> bool:
    """Whether the state bears the mark of this seal."""
    with reading(db) as connection:
        return _mark(connection) == seal.mark


def _mark(connection: Connection) -> str | None:
    return connection.execute(select(SEALS.c.mark)).scalar()


def _has_keys(connection: Connection) -> bool:
    return connection.execute(select(KEYS.c.id).where(KEYS.c.revoked_at.is_(None)).limit(1)).first() is not None
