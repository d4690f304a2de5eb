"""Who asks for reports, without a service in between."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Engine

from reelport.server.access import callers, grants, keys, organizations
from reelport.server.access.callers import REPORT_SCOPES, Caller
from reelport.server.access.grants import ClientCredentials
from reelport.server.credentials import ServiceSecret


def make_caller(db: Engine, secret: ServiceSecret, *channels: str, name: str = "demo") -> Caller:
    """A new organization that may read these channels, and who a new key of it stands for."""
    added = organizations.add_organization(db, name, datetime.now(UTC))
    organizations.allow_channels(db, added.id, channels)
    key = keys.create_key(db, secret, name, REPORT_SCOPES, datetime.now(UTC))
    return identify(db, secret, key.id, key.secret)


def identify(db: Engine, secret: ServiceSecret, key_id: str, key_secret: str) -> Caller:
    """Who a key stands for."""
    now = datetime.now(UTC)
    granted = grants.grant_token(db, secret, ClientCredentials(key_id, key_secret), REPORT_SCOPES, now)
    assert isinstance(granted, grants.Grant)
    found = callers.identify_caller(db, secret, granted.token, now)
    assert found is not None
    return found
