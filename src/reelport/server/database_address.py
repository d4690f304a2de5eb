"""The address of a PostgreSQL, as REELPORT_DATABASE_URL gives it."""

from __future__ import annotations

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from reelport.errors import UsageError
from reelport.server.masking import EXAMPLE

_UNCLEAR = (
    "REELPORT_DATABASE_URL: it isn't clear where its password ends: in a user's name and a password write @ as %40, "
    "/ as %2F, : as %3A, % as %25; in what follows them @ as %40."
)


def parse_address(address: str) -> URL:
    """Parse the URL of a PostgreSQL.

    UsageError, which quotes no part of it, when it is wrong or ambiguous.
    """
    if address.count("@") > 1:
        raise UsageError(_UNCLEAR)
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        raise UsageError(f"REELPORT_DATABASE_URL: not the address of a database: {EXAMPLE}.") from None
    if url.get_backend_name().lower() not in {"postgresql", "postgres"}:
        raise UsageError(
            "REELPORT_DATABASE_URL: only postgresql:// and postgres:// are known; leave it empty for SQLite."
        )
    # Part of the password would be parsed as the database or an option, and appear in errors.
    if "@" in address and url.username is None:
        raise UsageError(_UNCLEAR)
    return url.set(drivername="postgresql+psycopg")
