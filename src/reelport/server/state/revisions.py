"""The revisions of the state database: which it has, and how it gets to the newest.

An empty database gets the newest tables at once; one of an earlier release goes through the migrations since.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import IntegrityError, ProgrammingError

from reelport.errors import InternalError, NewerData, StorageError
from reelport.server.state.tables import create_tables

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

REVISION = "0001"
"""The newest migration: the revision that this version of Reelport reads and writes."""


def read_revision(connection: Connection) -> str | None:
    """Read the database's revision, its newest migration; None when the database is empty."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


@dataclass(frozen=True, slots=True)
class Migration:
    """One step between revisions. Beside a `backward_compatible` one, processes go on."""

    revision: str
    sentence: str
    backward_compatible: bool


def list_pending(found: str | None) -> tuple[Migration, ...]:
    """List the migrations from a revision (None: an empty database); NewerData if unknown."""
    require_known_revision(found)
    scripts = reversed(list(_open_scripts().iterate_revisions("head", found or "base")))
    return tuple(
        Migration(script.revision, script.doc.partition("\n")[0], script.module.backward_compatible)
        for script in scripts
    )


def require_known_revision(found: str | None) -> None:
    """Raise NewerData when a newer version of Reelport made the revision."""
    if found != REVISION and (sentence := describe_newer_revision(found)):
        raise NewerData(sentence)


def describe_newer_revision(found: str | None) -> str | None:
    """Describe a revision that a newer Reelport made; None for one that is known."""
    known = {script.revision for script in _open_scripts().walk_revisions()}
    if found is None or found in known:
        return None
    return f"The state database is at revision {found}, this version of Reelport knows {REVISION}: update Reelport."


def _open_scripts() -> ScriptDirectory:
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - only where the revision is not the newest one

    return ScriptDirectory.from_config(_make_config())


def _make_config() -> Config:
    from alembic.config import Config  # noqa: PLC0415 - see above

    config = Config()
    config.set_main_option("script_location", "reelport.server.state:migrations")
    return config


_THERE_ALREADY = frozenset({"42P07", "42723"})
"""PostgreSQL's codes for a table and a function that are there already."""


def migrate(connection: Connection) -> None:
    """Migrate the database to REVISION in the transaction of the connection.

    NewerData when a newer version made it, StorageError when a new rule doesn't allow a row of it, or
    what a migration makes is there already.
    """
    # Imported here: slow, and not needed when the database is up to date.
    from alembic import command  # noqa: PLC0415 - see above

    found = read_revision(connection)
    require_known_revision(found)
    config = _make_config()
    config.attributes["connection"] = connection
    try:
        if found is None:
            create_tables(connection)
            command.stamp(config, "head")
        else:
            command.upgrade(config, "head")
    except (IntegrityError, ProgrammingError) as error:
        if isinstance(error, ProgrammingError) and getattr(error.orig, "sqlstate", "") not in _THERE_ALREADY:
            raise
        reason = str(error.orig).strip().partition("\n")[0].rstrip(".")
        raise StorageError(f"A migration fails over the rows of this state: {reason}.") from error
    if read_revision(connection) != REVISION:
        raise InternalError("The migrations don't lead to the revision that the code expects.")
