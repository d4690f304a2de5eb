"""The data directory of a machine that runs workers alone, over PostgreSQL and an object store."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.patience import PATIENCE, until
from tests.storage.object_server import BUCKET

from reelport.errors import StorageError, UsageError
from reelport.facts.layout import FILE_NAME, require_layout
from reelport.server.doctor.checks import check_directory
from reelport.server.queue import liveness
from reelport.server.queue.supervisor import begin_directory
from reelport.server.settings import Secret, Settings, read_settings
from reelport.server.state.database import connected
from reelport.server.state.secret_fingerprint import require_same_secret


@pytest.fixture
def service(object_server: str, new_database: Callable[[], str], tmp_path: Path) -> Settings:
    """The settings of a service on another machine, whose state was made there."""
    assert object_server
    url = f"s3://{BUCKET}/{tmp_path.parent.name}-{tmp_path.name}"
    settings = read_settings(
        data=tmp_path / "api",
        database_url=new_database(),
        facts_url=f"{url}/facts",
        files_url=f"{url}/files",
        secret="s" * 32,
    )
    with connected(settings) as db:
        require_same_secret(db, settings)
    return settings


def test_a_worker_begins_its_own_directory(service: Settings, tmp_path: Path) -> None:
    """From nothing but the settings, whatever the umask; it becomes ready, and ends by SIGTERM."""
    machine = replace(service, data=tmp_path / "w1")
    assert [well for well, _ in check_directory(machine)] == [True]
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-m", "reelport", "worker"],
            env={**os.environ, **machine.environment()},
            stdin=subprocess.DEVNULL,
            stderr=log,
            umask=0o022,
        ) as worker,
    ):
        try:
            with connected(service) as db:
                assert until(lambda: liveness.list_ready(db, service)), (tmp_path / "log").read_text()
        finally:
            worker.terminate()
            assert worker.wait(PATIENCE) == 0
    assert (machine.data / FILE_NAME).exists()
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in (machine.data, machine.workers_root)] == [0o700] * 2
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_a_directory_that_was_made_for_it_is_begun(service: Settings, tmp_path: Path) -> None:
    """An empty one, one that holds the secret alone, or a new disk; once more changes nothing."""
    for name, held in (("empty", ()), ("secret", ("secret.key",)), ("disk", ("lost+found", "secret.key"))):
        machine = replace(service, data=tmp_path / name, secret=None if held else service.secret)
        machine.data.mkdir()
        for each in held:
            (machine.data / each).write_text("s" * 32)
            (machine.data / each).chmod(0o600)
        begin_directory(machine)
        begin_directory(machine)
        require_layout(machine.data)


def test_a_directory_is_not_begun_for_another_service(service: Settings, new_database: Callable[[], str]) -> None:
    """With another secret, with none, or over an empty database; the sentence says what to set."""
    data = service.data.with_name("w1")
    for given, expected in (
        ({"secret": Secret("o" * 32)}, "made under another secret"),
        ({"secret": None}, "set REELPORT_SECRET"),
        ({"database_url": new_database()}, "belongs to no service yet"),
    ):
        with pytest.raises(UsageError, match=expected):
            begin_directory(replace(service, data=data, **given))
        assert not data.exists()


def test_a_directory_whose_disk_may_be_away_is_not_begun(service: Settings) -> None:
    """One that is to hold state, tables or files; one that holds something; one whose folder is missing, too."""
    empty = service.data.with_name("w1")
    empty.mkdir()
    held = service.data.with_name("held")
    (held / "facts").mkdir(parents=True)
    for machine in (
        replace(service, data=empty, database_url=""),
        replace(service, data=empty, facts_url=""),
        replace(service, data=empty, files_url=""),
        replace(service, data=held),
        replace(service, data=service.data.with_name("none") / "w1"),
    ):
        begin_directory(machine)
        with pytest.raises(StorageError, match="is its disk there"):
            require_layout(machine.data)
    assert list(empty.iterdir()) == []
    assert not service.data.with_name("none").exists()
