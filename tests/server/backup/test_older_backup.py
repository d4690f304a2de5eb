"""Backups that an older version made."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import create_engine, text
from tests.server.upgrade.older_states import migrate_to

from reelport.server.backup.archive import Archive
from reelport.server.backup.manifest import Manifest, Stored
from reelport.server.backup.restore import restore_backup
from reelport.server.settings import Settings
from reelport.server.state.database import connected
from reelport.server.state.revisions import REVISION
from reelport.storage.local_folder import LocalFolder


def test_an_older_backup_is_brought_up_to_date(tmp_path: Path) -> None:
    """A state of the first version, restored into this one, is at its revision."""
    old = tmp_path / "state"
    engine = create_engine(f"sqlite:///{old}")
    with engine.begin() as connection:
        migrate_to(connection, "0001")
    engine.dispose()
    archive = Archive(tmp_path / "archive")
    with archive.writing():
        dump = LocalFolder(tmp_path).open("state")
        stored: Stored = archive.store(dump)
        dump.close()
    now = datetime.now(UTC).isoformat()
    manifest = Manifest("x", now, "0.0.1", "0001", "sqlite", None, {}, stored, (), ())
    place = Settings(data=tmp_path / "new")
    restore_backup(archive, manifest, place)
    with connected(place) as db, db.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == REVISION
