"""Opens a PostgreSQL for the state: how its connections are made, kept, and given up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import ConnectionPoolEntry

from reelport.server.database_address import PARAMETERS, parse_address

if TYPE_CHECKING:
    import psycopg

IDLE_SECONDS = 20
"""Seconds after which PostgreSQL ends a transaction that does nothing; less than a lease."""


def open_postgresql(url: str, options: dict[str, object], *, is_unhurried: bool) -> Engine:
    """Open the database at this address.

    `is_unhurried`: any statement may take as long as it does.
    """
    address = parse_address(url)
    address = address.set(query={**PARAMETERS, **address.query})
    # Last in, first out: after a failover the connection that was made anew is used, before others are made.
    db = create_engine(
        address,
        pool_pre_ping=True,
        pool_use_lifo=True,
        pool_size=10,
        max_overflow=40,
        execution_options=options,
    )
    if not is_unhurried:
        from reelport.server.state.patient_connection import connect_patiently  # noqa: PLC0415 - loads psycopg

        event.listen(db, "do_connect", connect_patiently)
    event.listen(db, "connect", _limit_idle_transactions)
    return db


def _limit_idle_transactions(connection: psycopg.Connection, _entry: ConnectionPoolEntry) -> None:
    """Let the server end a transaction of a frozen or cut off process.

    Its locks would stop all others.
    """
    connection.autocommit = True
    connection.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'")
    connection.autocommit = False


@contextmanager
def unhurried(connection: Connection) -> Iterator[None]:
    """Let statements of the block take as long as they do, on any database.

    A migration, or a delete of very many rows, would else be given up each time that it is tried.
    """
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
