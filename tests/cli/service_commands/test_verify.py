"""What `verify` prints of kept sums."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from reelport.cli.main import main
from reelport.server.settings import read_settings


def test_verify_tells_of_months_that_have_rotted_or_have_no_digest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without one a month is right as far as can be told; with another one it is named, and to be deleted."""

    def run(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as left:
            main([*words, "--data", str(tmp_path / "data")])
        return int(left.value.code or 0), "".join(capsys.readouterr())

    (tmp_path / "channels.csv").write_text("id,slug\nc1,demo-news\n")
    assert run("load", "channels", str(tmp_path / "channels.csv"))[0] == 0
    month = read_settings(data=tmp_path / "data").facts_root / ".settled" / "key.parquet"
    month.parent.mkdir()
    month.write_bytes(b"a month")
    status, text = run("verify")
    assert status == 0
    assert "months: 1 file without a digest" in text
    month.with_suffix(".sha256").write_text(f"{month.stat().st_ino} {hashlib.sha256(b'another').hexdigest()}")
    status, text = run("verify")
    assert status == 1
    assert "key.parquet: its bytes are not those that were written: delete it" in text
