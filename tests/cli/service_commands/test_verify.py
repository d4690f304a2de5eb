"""What `verify` prints of rollups."""

from __future__ import annotations

from pathlib import Path

import pytest

from reelport.cli.main import main
from reelport.facts.rollups import FOLDER
from reelport.server.settings import read_settings


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
