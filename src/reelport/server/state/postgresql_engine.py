"""Opens a PostgreSQL for the state: how its connections are made, kept, and given up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import ConnectionPoolEntry

from reelport.errors import UsageError
from reelport.server.database_address import PARAMETERS, parse_address

if TYPE_CHECKING:
    import psycopg

IDLE_SECONDS = 20
"""Seconds after which PostgreSQL ends a transaction that does nothing; less than a lease."""
_CHECK = """
SELECT set_config('client_connection_check_interval', '2s', false)
WHERE current_setting('server_version_num')::int >= 140000
"""
"""Has PostgreSQL look, while a statement runs, whether its client is there still; it can since version 14."""
_ENCODING = "UTF8"


def open_postgresql(url: str, *, is_unhurried: bool) -> Engine:
    """Open the database; its first use raises UsageError where its encoding isn't UTF8."""
    address = parse_address(url)
    address = address.set(query={**PARAMETERS, **address.query})
    # Last in, first out: after a failover the connection that was made anew is used, before others are made.
    db = create_engine(address, pool_pre_ping=True, pool_use_lifo=True, pool_size=10, max_overflow=40)
    if not is_unhurried:
        from reelport.server.state.patient_connection import connect_patiently  # noqa: PLC0415 - loads psycopg

        event.listen(db, "do_connect", connect_patiently)
    event.listen(db, "connect", _limit_lost_transactions)
    # First of all: what SQLAlchemy asks a new connection fails on one that gives bytes for text.
    event.listen(db, "connect", _require_encoding, insert=True)
    return db


def _require_encoding(connection: psycopg.Connection, _entry: ConnectionPoolEntry) -> None:
    """Raise UsageError for an encoding other than UTF8; a proxy that tells none is believed."""
    found = connection.info.parameter_status("server_encoding")
    if found in {None, _ENCODING}:
        return
    place = f"{connection.info.host}:{connection.info.port}/{connection.info.dbname}"
    raise UsageError(
        f"The PostgreSQL database {place} has the encoding {found}, which can't hold every title and name: make one "
        f"with {_ENCODING} (createdb --template template0 --encoding {_ENCODING} --locale C) and name that."
    )


def _limit_lost_transactions(connection: psycopg.Connection, _entry: ConnectionPoolEntry) -> None:
    """Let the server end transactions that stand still, and statements that were given up.

    Their locks would stop all others, and each statement that is tried again would take one more connection.
    """
    from psycopg import DataError  # noqa: PLC0415 - loaded by now

    connection.autocommit = True
    connection.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'")
    with suppress(DataError):  # the server's system doesn't tell it when a client is gone
        connection.execute(_CHECK)
    connection.autocommit = False


@contextmanager
def unhurried(connection: Connection) -> Iterator[None]:
    """Let statements of the block, such as a migration's, take as long as they do."""
    driver = connection.connection.driver_connection
    patience = getattr(driver, "patience", None)
    if driver is None or patience is None:
        yield
        return
    driver.patience = None
    try:
        yield
    finally:
        driver.patience = patience
