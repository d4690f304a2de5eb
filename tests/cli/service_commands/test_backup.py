"""What `backup` and `verify` tell, and `/metrics` afterwards."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from tests.cli.service_commands.command import Commands

from reelport.cli.main import main
from reelport.facts.rollups import FOLDER
from reelport.server.app import create_app
from reelport.server.settings import read_settings


@pytest.fixture
def command(tmp_path: Path) -> Commands:
    """Commands over a data directory of the test's own."""
    return Commands(tmp_path)


def test_a_backup_is_told_by_metrics_when_it_has_ended(command: Commands, tmp_path: Path) -> None:
    """One that was refused, as of a folder in the data directory itself, is not."""

    def read_last() -> float:
        with TestClient(create_app(read_settings(data=tmp_path / "data", workers=0))) as client:
            found = re.search(
                r"^reelport_last_backup_timestamp_seconds (\S+)$", client.get("/metrics").text, re.MULTILINE
            )
        assert found is not None
        return float(found[1])

    assert command("org", "add", "demo")[0] == 0
    status, _, err = command("backup", str(tmp_path / "data" / "backups"))
    assert (status, "is in the data directory itself" in err) == (2, True)
    assert read_last() == 0
    began = time.time()
    assert command("backup", str(tmp_path / "archive"))[0] == 0
    assert began - 0.001 <= read_last() <= time.time()


def test_verify_names_a_rollup_that_has_rotted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is named, and to be deleted and built anew; untouched it is as recorded."""

    def run(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as left:
            main([*words, "--data", str(tmp_path / "data")])
        return int(left.value.code or 0), "".join(capsys.readouterr())

    plays = tmp_path / "plays.csv"
    plays.write_text(
        "started_at,video_id,owner_channel_id,media_type,views,time_watched_seconds\n"
        "2026-01-05T10:00:00Z,v1,c1,video,3,60\n"
    )
    for words in (("load", "plays", str(plays)), ("rollups", "add", "plays"), ("rollups", "build"), ("verify",)):
        assert run(*words)[0] == 0, words
    (sums,) = (read_settings(data=tmp_path / "data").facts_root / FOLDER).rglob("*.parquet")
    sums.write_bytes(sums.read_bytes() + b"rot")
    status, text = run("verify")
    assert status == 1
    assert f"{sums.name}: its bytes are not those that were written: delete it, and run reelport rollups build" in text
