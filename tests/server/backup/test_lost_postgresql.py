"""The way back when PostgreSQL alone is lost: the state of a backup beside tables and files that are newer."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.server.api import open_api
from tests.server.queue.test_object_tables import make_queued_report, plays_of
from tests.storage.object_server import BUCKET

from reelport.errors import UsageError
from reelport.facts.loading.load import load_arrow
from reelport.facts.loading.verification import verify
from reelport.facts.log.snapshot import newest_versions
from reelport.server.access import organizations
from reelport.server.backup.archive import Archive, Manifest
from reelport.server.backup.create import create_backup
from reelport.server.backup.restore import restore_backup
from reelport.server.backup.state_dump import load_state
from reelport.server.files import retention, store_owner
from reelport.server.files.retention import sweep
from reelport.server.settings import Settings, read_settings
from reelport.server.state.database import connected


def restore_elsewhere(archive: Archive, made: Manifest, settings: Settings, scratch: Path) -> None:
    """Restore into a scratch directory that is then deleted; the buckets aren't named."""
    scratch.mkdir()
    shutil.copy(settings.data / "secret.key", scratch)
    restore_backup(archive, made, replace(settings, data=scratch, facts_url="", files_url=""))
    shutil.rmtree(scratch)


def load_dump(archive: Archive, made: Manifest, settings: Settings, _: Path) -> None:
    """Load the dump of the state, as pg_restore does by hand."""
    load_state(settings, archive.locate(made.state))


@pytest.mark.parametrize("restore", [restore_elsewhere, pytest.param(load_dump, marks=pytest.mark.long)])
def test_a_lost_state_is_restored_beside_its_newer_buckets(
    object_server: str,
    new_database: Callable[..., str],
    tmp_path: Path,
    restore: Callable[[Archive, Manifest, Settings, Path], None],
) -> None:
    """Its reports and keys are there, the tables as new as they were; the prefix is taken over by whoever says so."""
    assert object_server
    url = f"s3://{BUCKET}/{tmp_path.parent.name}-{tmp_path.name}"
    data, remote = tmp_path / "data", {"facts_url": f"{url}/facts", "files_url": f"{url}/files"}
    lost = read_settings(data=data, database_url=new_database(), workers=0, **remote)
    archive = Archive(tmp_path / "archive")
    with open_api(lost) as api:
        load_arrow(lost.facts_root, "plays", plays_of(1), "day-1")
        api.ask(startDate="2026-01-01", endDate="2026-01-05")
        make_queued_report(api)
        made = create_backup(api.service.db, lost, archive, datetime.now(UTC))
        load_arrow(lost.facts_root, "plays", plays_of(2), "day-2")
        api.ask(startDate="2026-01-02", endDate="2026-01-05")
        make_queued_report(api)
        store_owner.require_own_store(api.service.db, lost)
    (known,) = [file.name for file in made.files if file.store == "files"]
    after = newest_versions(lost.facts_root)
    found = replace(lost, database_url=new_database())
    with pytest.raises(UsageError, match="isn't empty: it holds"):
        restore_backup(archive, made, replace(found, data=tmp_path / "none"), check_secret=False)
    restore(archive, made, found, tmp_path / "scratch")
    assert newest_versions(found.facts_root) == after != made.versions
    with connected(found) as db:
        assert [each.name for each in organizations.list_organizations(db)] == ["demo"]
        with pytest.raises(UsageError, match="its state was copied, moved or restored"):
            sweep(db, found, datetime.now(UTC))
        found.report_store.delete(store_owner.PLACE_NAME)
        sweep(db, found, datetime.now(UTC))
        assert retention.check_files(db, found) == (1, ())
    assert [name for name in found.report_store.list_names() if not name.startswith(".")] == [known]
    assert not any(table.findings for table in verify(found.facts_root))
