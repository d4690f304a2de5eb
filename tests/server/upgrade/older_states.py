"""States of older versions, for tests of what brings them up to date."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, text

from reelport.facts.layout import check_layout
from reelport.server.settings import Settings
from reelport.server.state.database import open_database, writing

OLDER = "0008"


def migrate_to(connection: Connection, revision: str) -> None:
    """Bring a state to the revision of an older version."""
    config = Config()
    config.set_main_option("script_location", "reelport.server.state:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


@contextmanager
def opened(settings: Settings) -> Iterator[Engine]:
    """The state, whatever its revision."""
    db = open_database(settings)
    yield db
    db.dispose()


def make_older_state(settings: Settings) -> None:
    """Make a state at the revision OLDER, with an organization."""
    check_layout(settings.data)
    with opened(settings) as db, writing(db) as connection:
        migrate_to(connection, OLDER)
        connection.execute(text("INSERT INTO organizations (id, name, created_at, served_at) VALUES (1, 'demo', 1, 0)"))
