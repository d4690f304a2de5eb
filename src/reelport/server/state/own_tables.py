"""Which tables a state's reports are made of; a machine that names others is refused."""

from __future__ import annotations

from sqlalchemy import Engine, text

from reelport.facts.log.table_identity import identify_tables
from reelport.server.settings import Settings
from reelport.server.state.database import reading, writing

_TABLES = "tables"
_READ = text("SELECT value FROM identities WHERE name = :name")
_RECORD = text("INSERT INTO identities (name, value) VALUES (:name, :value) ON CONFLICT (name) DO NOTHING")


def require_own_tables(db: Engine, settings: Settings) -> None:
    """Raise StorageError unless the tables are the state's; the first ones used become them."""
    known = read_tables_identity(db)
    found = identify_tables(settings.data, settings.facts_root, make=True, known=known)
    if known is None:
        with writing(db) as connection:
            connection.execute(_RECORD, {"name": _TABLES, "value": found})
        identify_tables(settings.data, settings.facts_root, known=read_tables_identity(db))


def refuse_other_tables(db: Engine, settings: Settings) -> None:
    """Raise StorageError for tables that are not the state's; change nothing."""
    identify_tables(settings.data, settings.facts_root, known=read_tables_identity(db))


def read_tables_identity(db: Engine) -> str | None:
    """Read the identity of the state's tables; None before it is known."""
    with reading(db) as connection:
        value: str | None = connection.execute(_READ, {"name": _TABLES}).scalar()
    return value
