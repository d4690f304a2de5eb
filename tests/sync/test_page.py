"""The page about copies: what it shows runs as written, in its order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from tests.forked import command_folder

from reelport.testing import Vendor

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "keep-in-sync.md"


@pytest.mark.long
def test_the_page_runs_as_written(tmp_path: Path) -> None:
    """Commands, the file, programs and SQL; the copies are there in the end."""
    blocks = re.findall(r"^```(sh|toml|python|sql)\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    path = os.pathsep.join((str(command_folder()), str(Path(sys.executable).parent), os.environ["PATH"]))
    seen: list[tuple[object, ...]] = []
    with Vendor() as vendor:
        ours = {"REELPORT_URL": vendor.url, "REELPORT_API_KEY": vendor.key, "REELPORT_API_SECRET": vendor.secret}
        ours |= {"REELPORT_HOME": str(tmp_path / "home"), "DLT_DATA_DIR": str(tmp_path / "dlt"), "PATH": path}
        environment = os.environ | ours
        for language, text in blocks:
            match language:
                case "toml":
                    (tmp_path / "reelport.toml").write_text(text, "utf-8")
                case "sql":
                    with duckdb.connect(str(tmp_path / "reports.duckdb"), read_only=True) as con:
                        seen = con.execute(text).fetchall()
                case _:
                    words = ["bash", "-eu", "-c", text] if language == "sh" else [sys.executable, "-c", text]
                    done = subprocess.run(
                        words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
                    )
                    assert done.returncode == 0, f"{text}\n{done.stderr}"
    assert len(seen) > 30
    assert [language for language, _ in blocks].count("python") == 3
    assert (tmp_path / "earned" / "earned_by_month" / "current" / "manifest.json").exists()
    with duckdb.connect(str(tmp_path / "partner.duckdb"), read_only=True) as con:
        assert con.execute("SELECT count(*) > 30 FROM reports.views_by_day").fetchall() == [(True,)]
