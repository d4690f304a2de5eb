"""Studio's own key of each organization, by which people ask for reports in the page.

Nobody has a secret of it, no list shows it, and no token is granted for it.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, Engine, Select, bindparam, select, text

from reelport.errors import AccessError
from reelport.server import credentials
from reelport.server.access.access_tokens import REPORT_SCOPES
from reelport.server.access.callers import Caller, find_holder
from reelport.server.access.key_expiry import KeyKind
from reelport.server.state.database import reading, writing
from reelport.server.state.tables import KEYS, Moment

_NO_SECRET = ""
"""Stored in place of the hash of a secret: it is the hash of none."""
# Of two transactions that make the first one, one does; the other waits for it here and changes nothing.
_INSERT = text("""
INSERT INTO keys (id, organization_id, secret_hash, permissions, limited, created_at, kind)
VALUES (:id, :organization_id, :secret_hash, :permissions, 0, :created_at, 'studio')
ON CONFLICT DO NOTHING
""").bindparams(bindparam("created_at", type_=Moment()))


def identify_studio(db: Engine, organization_id: int, now: datetime) -> Caller:
    """Find the caller by which Studio acts for an organization; the first call makes its key.

    AccessError when the organization was removed meanwhile.
    """
    with reading(db) as connection:
        key = find_studio_key(connection, organization_id)
        holder = None if key is None else find_holder(connection, key, now)
    if holder is None:
        with writing(db) as connection:
            holder = find_holder(connection, find_or_create_studio_key(connection, organization_id, now), now)
    if holder is None:
        raise AccessError("Studio's key of this organization is revoked.")
    return holder


def find_or_create_studio_key(connection: Connection, organization_id: int, now: datetime) -> str:
    """Return the id of Studio's key of an organization; the first call makes it.

    It has every scope and reads every channel of the organization. The transaction must be one that writes.
    """
    found = find_studio_key(connection, organization_id)
    if found is not None:
        return found
    new = {
        "id": f"{credentials.KEY_ID}_{credentials.short_id()}",
        "organization_id": organization_id,
        "secret_hash": _NO_SECRET,
        "permissions": " ".join(REPORT_SCOPES),
        "created_at": now,
    }
    connection.execute(_INSERT, new)
    return connection.execute(_select_id(organization_id)).scalar_one()


def find_studio_key(connection: Connection, organization_id: int) -> str | None:
    """Find the id of Studio's key of an organization; None before the first use of Studio."""
    return connection.execute(_select_id(organization_id)).scalar()


def _select_id(organization_id: int) -> Select[str]:
    return select(KEYS.c.id).where(KEYS.c.organization_id == organization_id, KEYS.c.kind == KeyKind.STUDIO.value)
